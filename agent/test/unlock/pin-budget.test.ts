import assert from 'node:assert/strict';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { mkdtempSync, readFileSync, writeFileSync } from 'node:fs';
import { beforeEach, test } from 'node:test';
import { PinBudget } from '@keyagent/agent/unlock/pin-budget.js';

const blocked = { code: 'PIN_BLOCKED' };
const wrong = Buffer.from('0000');
const right = Buffer.from('1234');
let directory: string;
let budget: PinBudget;

beforeEach(() => {
  directory = mkdtempSync(join(tmpdir(), 'keyagent-budget-'));
  budget = new PinBudget(directory, 'web');
});

test('a value is spent once, also by a budget made anew after a crash', () => {
  budget.spend('credential', 'serial', wrong);
  assert.throws(() => {
    new PinBudget(directory, 'web').spend('credential', 'serial', wrong);
  }, blocked);
});

test('a changed value of the same source is tried, once', () => {
  budget.spend('credential', 'serial', wrong);
  budget.spend('credential', 'serial', right);
  assert.throws(() => {
    budget.spend('credential', 'serial', right);
  }, blocked);
  assert.throws(() => {
    budget.spend('credential', 'serial', wrong);
  }, blocked);
});

test('another source is not even asked', () => {
  budget.spend('credential', 'serial', wrong);
  assert.throws(() => {
    budget.requireSource('keyring');
  }, blocked);
  budget.requireSource('credential');
});

test('another serial is refused while a record stands', () => {
  budget.spend('credential', 'serial', wrong);
  assert.throws(() => {
    budget.spend('credential', 'other', right);
  }, blocked);
});

test('a login that succeeded gives everything back', () => {
  budget.spend('credential', 'serial', right);
  budget.restore();
  budget.requireSource('keyring');
  budget.spend('credential', 'serial', right);
});

test('the record holds no PIN', () => {
  budget.spend('credential', 'serial', Buffer.from('a-long-and-rare-pin'));
  const record = readFileSync(join(directory, 'web.pin-budget.json'), 'utf8');
  assert.equal(record.includes('a-long-and-rare-pin'), false);
  assert.equal(record.includes(Buffer.from('a-long-and-rare-pin').toString('hex')), false);
});

test('a damaged record forbids, and is not overwritten', () => {
  const file = join(directory, 'web.pin-budget.json');
  writeFileSync(file, '{"version":1');
  assert.throws(() => {
    budget.spend('credential', 'serial', right);
  }, blocked);
  assert.equal(readFileSync(file, 'utf8'), '{"version":1');
});

test('a state directory that is gone forbids', () => {
  assert.throws(() => {
    new PinBudget(join(directory, 'missing'), 'web').spend('credential', 'serial', right);
  }, blocked);
});

test('a PIN that is typed on a reader is asked for once, and its record says nothing of it', () => {
  budget.spend('card', 'serial', undefined);
  const record = readFileSync(join(directory, 'web.pin-budget.json'), 'utf8');
  assert.deepEqual(JSON.parse(record), { version: 1, serial: 'serial', source: 'card', attempts: [] });
  const next = new PinBudget(directory, 'web');
  next.requireSource('card');
  assert.throws(() => {
    next.spend('card', 'serial', undefined);
  }, blocked);
  assert.throws(() => {
    next.requireSource('credential');
  }, blocked);
  next.restore();
  next.spend('card', 'serial', undefined);
});
