/** That wiping reaches the only copy is measured on running agents; here, that the memory is outside of V8's heap. */
import assert from 'node:assert/strict';
import { scryptSync } from 'node:crypto';
import { test } from 'node:test';
import { secretBytes, secretCopy } from '@keyagent/agent/unlock/secret-bytes.js';

test('the memory is zeroes of its own, of the length asked for', () => {
  for (const length of [1, 8, 64, 65, 300]) {
    const bytes = secretBytes(length);
    assert.deepEqual([...bytes], Array<number>(length).fill(0));
    assert.deepEqual([bytes.byteOffset, bytes.buffer.byteLength], [0, length]);
  }
});

test('a copy is independent of what it was made from', () => {
  const first = Buffer.from('1234');
  const copy = secretCopy(first);
  first.fill(0);
  assert.equal(copy.toString(), '1234');
});

test('native code sees the bytes where JavaScript wipes them', () => {
  const pin = secretCopy(Buffer.from('1234'));
  const before = pin.buffer;
  scryptSync(pin, 'salt', 4);
  assert.equal(pin.buffer, before);
  pin.fill(0);
  assert.deepEqual(new Uint8Array(before), new Uint8Array(4));
});
