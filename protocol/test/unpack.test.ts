/** Unpacking and packing against msgpackr, which reads and writes more: what passes here is the same there. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { Packr, unpack as referenceUnpack } from 'msgpackr';
import { AgentError, limits } from '@keyagent/protocol';

// Not part of the package's face, so loaded from where it is built.
const { unpack } = (await import(
  new URL('../../dist/unpack.js', import.meta.url).href
)) as typeof import('../unpack.js');
const { pack } = (await import(
  new URL('../../dist/pack.js', import.meta.url).href
)) as typeof import('../pack.js');

const packr = new Packr({ useRecords: false, variableMapSize: true });
const referencePack = (value: unknown): Buffer => packr.pack(value);

function accepts(body: Uint8Array): boolean {
  try {
    unpack(body);
    return true;
  } catch (error) {
    assert(error instanceof AgentError && error.code === 'MALFORMED', String(error));
    return false;
  }
}

test('unpack accepts each type of the subset at the top level', () => {
  for (const body of [
    'c0',
    'c2',
    'c3',
    '00',
    '7f',
    'ccff',
    'cdffff',
    'ceffffffff',
    'a0',
    'a161',
    'd900',
    'da0000',
    'c400',
    'c50000',
    '90',
    'dc0000',
    '80',
    'de0000',
  ]) {
    assert(accepts(Buffer.from(body, 'hex')), body);
  }
});

test('unpack refuses each type byte outside the subset', () => {
  const outside = [
    0xc1, 0xc6, 0xc7, 0xc8, 0xc9, 0xca, 0xcb, 0xcf, 0xd0, 0xd1, 0xd2, 0xd3, 0xd4, 0xd5, 0xd6, 0xd7, 0xd8,
    0xdb, 0xdd, 0xdf,
  ];
  for (let type = 0xe0; type <= 0xff; type++) outside.push(type);
  for (const type of outside) {
    assert(!accepts(Buffer.concat([Buffer.of(type), Buffer.alloc(40)])), type.toString(16));
    assert(!accepts(Buffer.of(type)), type.toString(16));
  }
});

test('unpack counts depth: four containers pass, five do not', () => {
  assert(accepts(Buffer.from('91919190', 'hex')));
  assert(accepts(Buffer.from('9191919100', 'hex')));
  assert(!accepts(Buffer.from('9191919190', 'hex')));
  assert(accepts(Buffer.from('81a16181a16181a16181a16100', 'hex')));
  assert(!accepts(Buffer.from('81a16181a16181a16181a16180', 'hex')));
  assert(!accepts(Buffer.alloc(16384, 0x91)));
});

test('unpack sees a key twice in the same map only', () => {
  assert(!accepts(Buffer.from('82a16100a16100', 'hex')));
  assert(!accepts(Buffer.from('82a16100d9016100', 'hex')));
  assert(!accepts(Buffer.from('83a16181a16200a16300a16100', 'hex')));
  assert(accepts(Buffer.from('82a16181a16100a16281a16100', 'hex')));
  assert(accepts(Buffer.from('9281a1610081a16100', 'hex')));
  assert(accepts(Buffer.from('82a0 00a16100'.replace(' ', ''), 'hex')));
});

test('unpack takes 32 pairs and no more', () => {
  const pairs = (count: number): Buffer =>
    Buffer.concat([
      Buffer.of(0xde, 0, count),
      ...Array.from({ length: count }, (_, i) => Buffer.of(0xa1, 0x30 + i, i)),
    ]);
  assert(accepts(pairs(32)));
  assert(!accepts(pairs(33)));
});

test('unpack takes ten times as long for ten times as many small maps, no more', () => {
  const map = Buffer.from('82a16100a16200', 'hex');
  const full = (count: number): Buffer =>
    Buffer.concat([Buffer.of(0xdc, count >> 8, count & 0xff), ...Array.from({ length: count }, () => map)]);
  const fastestMs = (body: Buffer): number =>
    Math.min(
      ...Array.from({ length: 50 }, () => {
        const startedAt = performance.now();
        assert(accepts(body));
        return performance.now() - startedAt;
      }),
    );
  // Were it quadratic, a hundred times.
  assert(fastestMs(full(2300)) < 40 * fastestMs(full(230)));
});

const str = fc.string({ unit: 'binary', maxLength: 300 }).filter((value) => !value.startsWith('\ufeff'));
const leaf = fc.oneof(
  fc.nat(0xffffffff),
  fc.boolean(),
  fc.constant(null),
  str,
  fc.uint8Array({ maxLength: 300 }).map((bytes) => Buffer.from(bytes)),
);
const key = str.filter((name) => name !== '__proto__');
const tree = fc.letrec<{ value: unknown }>((tie) => ({
  value: fc.oneof(
    { maxDepth: 4, depthSize: 'medium' },
    leaf,
    fc.array(tie('value'), { maxLength: 20 }),
    fc.dictionary(key, tie('value'), { maxKeys: 20, noNullPrototype: true }),
  ),
})).value;

function depthOf(value: unknown): number {
  if (typeof value !== 'object' || value === null || value instanceof Uint8Array) return 0;
  return 1 + Math.max(0, ...Object.values(value).map(depthOf));
}

test('unpack reads whatever msgpackr writes of the allowed types up to the depth', () => {
  fc.assert(
    fc.property(tree, (value) => {
      const body = packr.pack(value);
      assert.equal(accepts(body), depthOf(value) <= 4);
      if (depthOf(value) <= 4) assert.deepEqual(unpack(body), value);
      // A second time, now that its texts were seen.
      if (depthOf(value) <= 4) assert.deepEqual(unpack(body), value);
    }),
    { numRuns: 3000 },
  );
});

test('what unpack accepts of arbitrary bytes, msgpackr reads the same', () => {
  // Bytes that begin containers and strings are more likely, so that some pass.
  const byte = fc.oneof(
    fc.integer({ min: 0, max: 255 }),
    fc.constantFrom(0x00, 0x81, 0x82, 0x91, 0x92, 0xa0, 0xa1, 0xc0, 0xc4, 0xd9, 0x01),
  );
  let accepted = 0;
  fc.assert(
    fc.property(fc.array(byte, { maxLength: 24 }), (bytes) => {
      const body = Buffer.from(bytes);
      if (!accepts(body)) return;
      accepted++;
      assert.deepEqual(unpack(body), referenceUnpack(body));
    }),
    { numRuns: 20000 },
  );
  assert(accepted > 100, `${accepted} accepted`);
});

test('msgpackr reads whatever pack writes, and so does unpack', () => {
  fc.assert(
    fc.property(tree, (value) => {
      if (referencePack(value).length > limits.frame) {
        assert.throws(() => pack(value), { code: 'TOO_LARGE' });
        return;
      }
      const frame = pack(value);
      assert.equal(frame.readUInt32BE(0), frame.length - 4);
      assert.deepEqual(referenceUnpack(frame.subarray(4)), value);
      if (depthOf(value) <= 4) assert.deepEqual(unpack(frame.subarray(4)), value);
    }),
    { numRuns: 3000 },
  );
});

test('pack writes the shortest form', () => {
  const texts = ['', 'a'.repeat(31), 'a'.repeat(32), 'a'.repeat(255), 'a'.repeat(256), 'é'.repeat(16)];
  const numbers = [0, 127, 128, 255, 256, 65535, 65536, 0xffffffff];
  const bytes = [0, 255, 256].map((length) => Buffer.alloc(length));
  for (const value of [...texts, ...numbers, ...bytes, null, true, Array(16).fill(0)]) {
    assert.deepEqual(pack(value).subarray(4), referencePack(value));
  }
});

test('pack refuses what the subset cannot say, and more than a frame', () => {
  for (const value of [-1, 1.5, 2 ** 32, NaN, 1n, undefined, '\ud800', { '\udc00': 1 }, '\ufeffa']) {
    assert.throws(() => pack([value]), { code: 'MALFORMED' });
  }
  assert.equal(pack(Buffer.alloc(16381)).length, 16388);
  for (const value of [
    Buffer.alloc(16382),
    'a'.repeat(16382),
    Array(16382).fill(0),
    Array(1000).fill('a'.repeat(40)),
  ]) {
    assert.throws(() => pack(value), { code: 'TOO_LARGE' });
  }
});

test('a map with the name of what objects inherit from inherits nothing from it, and shows the field', () => {
  const map = unpack(Buffer.from('81a95f5f70726f746f5f5f80', 'hex')) as object;
  assert.deepEqual([Object.keys(map), Object.getPrototypeOf(map)], [['__proto__'], Object.prototype]);
});
