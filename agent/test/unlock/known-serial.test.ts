import assert from 'node:assert/strict';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, test } from 'node:test';
import { KnownSerial } from '@keyagent/agent/unlock/known-serial.js';

const blocked = { code: 'PIN_BLOCKED' };
let directory: string;
let serial: KnownSerial;
beforeEach(() => {
  directory = mkdtempSync(join(tmpdir(), 'keyagent-serial-'));
  serial = new KnownSerial(directory, 'web');
});
afterEach(() => {
  rmSync(directory, { recursive: true });
});

test('before the first login every token is good', () => {
  serial.require('12ab');
});

test('after it only that token is, also after a restart', () => {
  serial.remember('12ab');
  serial.require('12ab');
  for (const each of [serial, new KnownSerial(directory, 'web')]) {
    assert.throws(() => {
      each.require('34cd');
    }, /no automatic login to web: its serial is 34cd, and the token unlocked before had 12ab/);
  }
});

test('a login of an operator makes another token the known one', () => {
  serial.remember('12ab');
  serial.remember('34cd');
  serial.require('34cd');
  assert.throws(() => {
    serial.require('12ab');
  }, blocked);
});

test('each name has its own', () => {
  serial.remember('12ab');
  new KnownSerial(directory, 'backup').require('34cd');
});

test('a damaged file forbids until an operator logs in', () => {
  writeFileSync(join(directory, 'web.serial.json'), '{"version":1');
  assert.throws(() => {
    serial.require('12ab');
  }, blocked);
  serial.remember('12ab');
  serial.require('12ab');
});
