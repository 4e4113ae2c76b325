import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { encodeFrame, FrameReader } from '@keyagent/protocol';

const hex = (text: string): Buffer => Buffer.from(text, 'hex');
const asHex = (bodies: readonly Buffer[]): string[] => bodies.map((body) => body.toString('hex'));

test('encodeFrame puts the length in front, big-endian', () => {
  assert.equal(encodeFrame(hex('0102')).toString('hex'), '000000020102');
  assert.equal(encodeFrame(Buffer.alloc(0x0102)).subarray(0, 4).toString('hex'), '00000102');
});

test('FrameReader gives every frame of a chunk, in order', () => {
  const reader = new FrameReader(16);
  assert.deepEqual(asHex(reader.push(hex('00000001aa00000002bbcc00000001dd'))), ['aa', 'bbcc', 'dd']);
  assert(reader.idle);
});

test('FrameReader puts frames together that arrive byte by byte', () => {
  const reader = new FrameReader(16);
  const bodies = [...hex('00000003aabbcc00000001dd')].flatMap((byte) => reader.push(Buffer.of(byte)));
  assert.deepEqual(asHex(bodies), ['aabbcc', 'dd']);
});

test('FrameReader is idle only between frames', () => {
  const reader = new FrameReader(16);
  const states = [...hex('00000002aabb')].map((byte) => {
    reader.push(Buffer.of(byte));
    return reader.idle;
  });
  assert.deepEqual(states, [false, false, false, false, false, true]);
});

test('FrameReader gives the same frames however the stream is cut', () => {
  const bodies = fc.array(fc.uint8Array({ minLength: 1, maxLength: 40 }), { maxLength: 6 });
  fc.assert(
    fc.property(bodies, fc.array(fc.integer({ min: 1, max: 30 }), { minLength: 1 }), (sent, cuts) => {
      const stream = Buffer.concat(sent.map(encodeFrame));
      const reader = new FrameReader(40);
      const received: Buffer[] = [];
      for (let at = 0, i = 0; at < stream.length; i++) {
        const size = cuts[i % cuts.length] ?? 1;
        received.push(...reader.push(stream.subarray(at, at + size)));
        at += size;
      }
      assert.deepEqual(asHex(received), asHex(sent.map((body) => Buffer.from(body))));
      assert(reader.idle);
    }),
  );
});

test('a body that arrives whole is a view of its chunk', () => {
  const chunk = hex('00000002aabb');
  const [body] = new FrameReader(16).push(chunk);
  chunk.fill(0);
  assert.equal(body?.toString('hex'), '0000');
});

test('FrameReader takes a plain Uint8Array', () => {
  const [body] = new FrameReader(16).push(new Uint8Array(hex('00000001aa')));
  assert(Buffer.isBuffer(body));
  assert.equal(body.toString('hex'), 'aa');
});

test('FrameReader accepts the longest body and refuses one byte more, before any of it has arrived', () => {
  const longest = encodeFrame(Buffer.alloc(16384, 1));
  assert.equal(new FrameReader(16384).push(longest)[0]?.length, 16384);
  for (const prefix of ['00004001', 'ffffffff', '7fffffff', '80000000']) {
    assert.throws(() => new FrameReader(16384).push(hex(prefix)), { code: 'TOO_LARGE' }, prefix);
  }
});

test('FrameReader judges the length when its last byte arrives', () => {
  const reader = new FrameReader(16384);
  assert.deepEqual(reader.push(hex('ffffff')), []);
  assert.throws(() => reader.push(hex('ff')), { code: 'TOO_LARGE' });
});

test('FrameReader refuses length 0', () => {
  assert.throws(() => new FrameReader(16).push(hex('00000000')), { code: 'MALFORMED' });
  assert.throws(() => new FrameReader(16).push(hex('00000001aa00000000')), { code: 'MALFORMED' });
});
