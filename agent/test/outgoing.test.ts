import assert from 'node:assert/strict';
import { Writable } from 'node:stream';
import { test } from 'node:test';
import { Outgoing } from '@keyagent/agent/outgoing.js';

/** A stream that takes nothing until the test says, and what it was given, a write each. */
function slowStream(): { stream: Writable; writes: string[][]; take: () => void } {
  const writes: string[][] = [];
  let take = (): void => undefined;
  const stream = new Writable({
    writev: (chunks, done) => {
      writes.push(chunks.map(({ chunk }) => String(chunk)));
      take = done;
    },
  });
  return {
    stream,
    writes,
    take: () => {
      take();
    },
  };
}

test('frames of one turn leave in one write, in their order; only the first wants a flush', () => {
  const { stream, writes } = slowStream();
  const outgoing = new Outgoing(stream);
  assert.deepEqual(
    ['one', 'two', 'three'].map((text) => outgoing.add(Buffer.from(text))),
    [true, false, false],
  );
  assert.deepEqual(writes, []);
  outgoing.flush();
  assert.deepEqual(writes, [['one', 'two', 'three']]);
  assert.equal(outgoing.add(Buffer.from('four')), true);
});

test('what waits for the flush counts as what waits for the peer does', () => {
  const { stream, take } = slowStream();
  const outgoing = new Outgoing(stream);
  outgoing.add(Buffer.alloc(10));
  assert.equal(outgoing.length, 10);
  outgoing.flush();
  outgoing.add(Buffer.alloc(5));
  assert.equal(outgoing.length, 15);
  take();
  assert.equal(outgoing.length, 5);
});

test('nothing is written to a stream that has ended, nor by a flush of nothing', () => {
  for (const end of [(stream: Writable) => stream.end(), (stream: Writable) => stream.destroy()]) {
    const { stream, writes } = slowStream();
    const outgoing = new Outgoing(stream);
    outgoing.flush();
    end(stream);
    outgoing.add(Buffer.from('late'));
    outgoing.flush();
    assert.deepEqual([writes, outgoing.length], [[], 0]);
  }
});
