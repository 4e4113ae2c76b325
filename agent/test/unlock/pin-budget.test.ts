import assert from 'node:assert/strict';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { mkdtempSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { beforeEach, test } from 'node:test';
import { PinBudget } from '@keyagent/agent/unlock/pin-budget.js';

const blocked = { code: 'PIN_BLOCKED' };
const web = { label: 'web', serial: 'serial' };
const wrong = Buffer.from('0000');
const right = Buffer.from('1234');
let directory: string;
let budget: PinBudget;

beforeEach(() => {
  directory = mkdtempSync(join(tmpdir(), 'keyagent-budget-'));
  budget = new PinBudget(directory, 'web');
});

test('a value is spent once, also by a budget made anew after a crash', () => {
  budget.spend('credential', web, wrong);
  assert.throws(() => {
    new PinBudget(directory, 'web').spend('credential', web, wrong);
  }, blocked);
});

test('a changed value of the same source is tried, once', () => {
  budget.spend('credential', web, wrong);
  budget.spend('credential', web, right);
  assert.throws(() => {
    budget.spend('credential', web, right);
  }, blocked);
  assert.throws(() => {
    budget.spend('credential', web, wrong);
  }, blocked);
});

test('another source is not even asked', () => {
  budget.spend('credential', web, wrong);
  assert.throws(() => {
    budget.requireSource('keyring');
  }, blocked);
  budget.requireSource('credential');
});

test('another token is refused while a record stands, and the record is not lost', () => {
  budget.spend('credential', web, wrong);
  // Tokens that share a serial, as a TPM's do, are told apart by their labels.
  for (const other of [
    { ...web, serial: 'other' },
    { ...web, label: 'other' },
  ])
    assert.throws(() => {
      budget.spend('credential', other, right);
    }, /it was tried on the token web with serial serial, not on this one/);
  assert.throws(() => {
    new PinBudget(directory, 'again').spend('credential', web, right);
  }, blocked);
});

test('a login that succeeded gives everything back', () => {
  budget.spend('credential', web, right);
  budget.restore(web);
  budget.requireSource('keyring');
  budget.spend('credential', web, right);
});

test('a record under another name that is about the same token forbids, until a login to that token succeeds', () => {
  budget.spend('credential', web, wrong);
  const other = new PinBudget(directory, 'backup');
  const same = { code: 'PIN_BLOCKED', message: /to backup: web names the same token \(serial serial\)/ };
  for (const pin of [wrong, right, undefined])
    assert.throws(() => {
      other.spend('credential', web, pin);
    }, same);
  assert.throws(() => {
    other.spendAgain('credential', web, other.attemptOf(right));
  }, same);
  other.spend('credential', { ...web, label: 'backup' }, right);
  other.giveBack();
  assert.throws(() => {
    other.spend('credential', web, right);
  }, same);
  other.restore(web);
  other.spend('credential', web, right);
});

test('a damaged record under another name forbids, since it may be about any token, and says what to do', () => {
  const damaged = join(directory, 'other.pin-budget.json');
  writeFileSync(damaged, JSON.stringify({ version: 1, label: 'other', serial: 'other' }));
  const todo =
    `no automatic login to web: ${damaged} cannot be read and may be about this token, ` +
    'until "keyagent unlock other" succeeds or the file is removed; run "keyagent unlock web"';
  assert.throws(
    () => {
      budget.spend('credential', web, right);
    },
    { code: 'PIN_BLOCKED', message: todo },
  );
});

test('a login that succeeded gives back what can be read, and tells of a damaged record that stays', () => {
  const damaged = join(directory, 'a.pin-budget.json');
  writeFileSync(damaged, '{}');
  for (const name of ['b', 'web']) {
    const record = { version: 1, ...web, source: 'credential', attempts: [] };
    writeFileSync(join(directory, `${name}.pin-budget.json`), JSON.stringify(record));
  }
  assert.throws(() => {
    budget.restore(web);
  }, /a\.pin-budget\.json cannot be read/);
  assert.deepEqual(readdirSync(directory), ['a.pin-budget.json']);
  new PinBudget(directory, 'a').restore({ label: 'a', serial: 'a' });
  budget.spend('credential', web, right);
});

test('the record holds no PIN', () => {
  budget.spend('credential', web, Buffer.from('a-long-and-rare-pin'));
  const record = readFileSync(join(directory, 'web.pin-budget.json'), 'utf8');
  assert.equal(record.includes('a-long-and-rare-pin'), false);
  assert.equal(record.includes(Buffer.from('a-long-and-rare-pin').toString('hex')), false);
});

test('a damaged record forbids, and is not overwritten', () => {
  const file = join(directory, 'web.pin-budget.json');
  writeFileSync(file, '{"version":1');
  assert.throws(() => {
    budget.spend('credential', web, right);
  }, blocked);
  assert.equal(readFileSync(file, 'utf8'), '{"version":1');
});

test('a state directory that is gone forbids', () => {
  assert.throws(() => {
    new PinBudget(join(directory, 'missing'), 'web').spend('credential', web, right);
  }, blocked);
});

test('a PIN that is typed on a reader is asked for once, and its record says nothing of it', () => {
  budget.spend('card', web, undefined);
  const record = readFileSync(join(directory, 'web.pin-budget.json'), 'utf8');
  assert.deepEqual(JSON.parse(record), { version: 1, ...web, source: 'card', attempts: [] });
  const next = new PinBudget(directory, 'web');
  next.requireSource('card');
  assert.throws(() => {
    next.spend('card', web, undefined);
  }, blocked);
  assert.throws(() => {
    next.requireSource('credential');
  }, blocked);
  next.restore(web);
  next.spend('card', web, undefined);
});
