import assert from 'node:assert/strict';
import { mkdtempSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import { Revocation } from '@keyagent/agent/unlock/revocation.js';

const freshDirectory = (): string => mkdtempSync(join(tmpdir(), 'keyagent-revocation-'));

test('a revocation outlives the process until it is removed', () => {
  const directory = freshDirectory();
  new Revocation(directory).add(['web', 'mail']);
  const next = new Revocation(directory);
  assert.equal(next.has('web'), true);
  next.remove('web');
  assert.equal(next.has('web'), false);
  assert.equal(new Revocation(directory).has('web'), false);
  assert.equal(new Revocation(directory).has('mail'), true);
});

test('nothing is revoked in a fresh state directory', () => {
  assert.equal(new Revocation(freshDirectory()).hasAny([{ name: 'web' }]), false);
});

test('a token that is no longer configured stays revoked, and does not count', () => {
  const revocation = new Revocation(freshDirectory());
  revocation.add(['old']);
  assert.equal(revocation.hasAny([{ name: 'web' }]), false);
  assert.equal(revocation.hasAny([{ name: 'web' }, { name: 'old' }]), true);
});

test('a damaged file stops the start instead of allowing', () => {
  const directory = freshDirectory();
  writeFileSync(join(directory, 'revoked.json'), 'x');
  assert.throws(() => new Revocation(directory), { code: 'CONFIGURATION' });
});

test('what cannot be remembered is said, and counts for this process', () => {
  const revocation = new Revocation(join(freshDirectory(), 'missing'));
  assert.throws(
    () => {
      revocation.add(['web']);
    },
    { code: 'CONFIGURATION' },
  );
  assert.equal(revocation.has('web'), true);
});
