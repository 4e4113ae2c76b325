import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Cancellation } from '@keyagent/agent/cancellation.js';

test('listeners are told once, with the first reason', () => {
  const cancellation = new Cancellation();
  const told: string[] = [];
  cancellation.onCancel(({ message }) => told.push(`a ${message}`));
  cancellation.onCancel(({ message }) => told.push(`b ${message}`));
  cancellation.cancel(new Error('gone'));
  cancellation.cancel(new Error('late'));
  assert.deepEqual(told, ['a gone', 'b gone']);
  assert.throws(() => {
    cancellation.throwIfCancelled();
  }, /^Error: gone$/);
});

test('one that left is not told, nor is one that came too late', () => {
  const cancellation = new Cancellation();
  const told: string[] = [];
  const leaver = (): void => {
    told.push('leaver');
  };
  cancellation.onCancel(leaver);
  cancellation.offCancel(leaver);
  cancellation.cancel(new Error('gone'));
  cancellation.onCancel(() => told.push('late'));
  assert.deepEqual([told, cancellation.cancelled], [[], true]);
});

test('nothing is thrown as long as the request is wanted', () => {
  const cancellation = new Cancellation();
  cancellation.throwIfCancelled();
  assert.equal(cancellation.cancelled, false);
});
