/** Generated messages round-trip; generated damage is refused cleanly. KEYAGENT_FUZZ_RUNS makes it longer. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import {
  CodecError,
  decodeIncoming,
  decodeReply,
  encodeReply,
  encodeRequest,
  errorFields,
  isRequest,
  limits,
  methods,
  type Field,
  type Fields,
  type Method,
  type Reply,
  type Request,
} from '@keyagent/protocol';
import { bodyOf, valid } from './vectors.js';

const damageRuns = Number(process.env['KEYAGENT_FUZZ_RUNS'] ?? 100_000);

/** UTF-8 of at most `max` bytes, without the byte order mark that the protocol refuses. */
function text(max: number): fc.Arbitrary<string> {
  return fc
    .string({ unit: 'binary', maxLength: Math.min(max, 80) })
    .filter((value) => Buffer.byteLength(value) <= max && !value.startsWith('\ufeff'));
}

function valueOf(field: Field): fc.Arbitrary<unknown> {
  switch (field.kind) {
    case 'uint':
      return fc.nat(field.max);
    case 'bool':
      return fc.boolean();
    case 'str':
      return text(field.max);
    case 'enum':
      return fc.constantFrom(...field.values);
    case 'bin':
      return fc.uint8Array({ maxLength: Math.min(field.max, 600) }).map((bytes) => Buffer.from(bytes));
    case 'list':
      return fc.array(valueOf(field.of), { maxLength: Math.min(field.max, 5) });
    case 'map':
      return mapOf(field.fields);
  }
}

function mapOf(fields: Fields): fc.Arbitrary<object> {
  const required = Object.keys(fields).filter((name) => fields[name]?.optional !== true);
  const values = Object.fromEntries(Object.entries(fields).map(([name, field]) => [name, valueOf(field)]));
  return fc.record(values, { requiredKeys: required, noNullPrototype: true });
}

const id = fc.integer({ min: 1, max: 0xffffffff });
const names = Object.keys(methods) as Method[];

for (const method of names) {
  const { faces, params, result } = methods[method];
  const face = faces[0];

  test(`${method}: generated requests and replies round-trip`, () => {
    fc.assert(
      fc.property(id, mapOf(params), (requestId, values) => {
        const request = { id: requestId, method, params: values } as unknown as Request;
        assert.deepEqual(decodeIncoming(encodeRequest(request).subarray(4), face), request);
      }),
      { numRuns: 300 },
    );
    fc.assert(
      fc.property(id, mapOf(result), (requestId, values) => {
        const reply = { id: requestId, result: values } as unknown as Reply;
        assert.deepEqual(
          decodeReply(encodeReply(method, reply).subarray(4), () => method),
          reply,
        );
      }),
      { numRuns: 300 },
    );
  });
}

test('generated errors round-trip', () => {
  fc.assert(
    fc.property(fc.nat(0xffffffff), mapOf(errorFields), (requestId, error) => {
      const reply = { id: requestId, error } as unknown as Reply;
      assert.deepEqual(
        decodeReply(encodeReply(undefined, reply).subarray(4), () => 'sign'),
        reply,
      );
    }),
  );
});

interface Damage {
  readonly body: Buffer;
  readonly at: number;
  readonly byte: number;
  readonly kind: 'set' | 'insert' | 'remove' | 'cut';
}

const shortBodies = valid.map(bodyOf).filter(({ length }) => length < 400);
const damage: fc.Arbitrary<Damage> = fc.record({
  body: fc.constantFrom(...shortBodies),
  at: fc.nat(400),
  byte: fc.integer({ min: 0, max: 255 }),
  kind: fc.constantFrom('set', 'insert', 'remove', 'cut'),
});

function apply(body: Buffer, { at, byte, kind }: Damage): Buffer {
  const place = at % (body.length + 1);
  const [before, after] = [body.subarray(0, place), body.subarray(place)];
  if (kind === 'cut') return Buffer.from(before);
  if (kind === 'insert') return Buffer.concat([before, Buffer.of(byte), after]);
  if (kind === 'remove') return Buffer.concat([before, after.subarray(1)]);
  return Buffer.concat([before, Buffer.of(byte), after.subarray(1)]);
}

/** Decodes as both sides do; what is accepted is within the schema, what is refused is a CodecError. */
function decodeDamaged(body: Buffer): void {
  for (const decode of [
    () => decodeIncoming(body, 'client'),
    () => decodeIncoming(body, 'control'),
    () => decodeReply(body, () => 'key'),
    () => decodeReply(body, () => 'status'),
  ]) {
    try {
      const message = decode();
      if (isRequest(message as Request)) assert(Object.hasOwn(message, 'id'));
    } catch (error) {
      assert(error instanceof CodecError, String(error));
      assert.equal(error.fatal, error.code === 'MALFORMED');
    }
  }
}

test(`${damageRuns} damaged bodies are accepted within the schema or refused with a CodecError`, () => {
  const twice = fc.array(damage, { minLength: 1, maxLength: 3 });
  fc.assert(
    fc.property(twice, (damages) => {
      const [first] = damages;
      let body = first?.body ?? Buffer.alloc(0);
      for (const each of damages) body = apply(body, each);
      decodeDamaged(body);
    }),
    { numRuns: damageRuns },
  );
});

test('an accepted request re-encodes to a request that decodes to the same', () => {
  fc.assert(
    fc.property(damage, (each) => {
      let message;
      try {
        message = decodeIncoming(apply(each.body, each), 'client');
      } catch {
        return;
      }
      if (!isRequest(message)) return;
      assert.deepEqual(decodeIncoming(encodeRequest(message).subarray(4), 'client'), message);
    }),
    { numRuns: 20_000 },
  );
});

test('arbitrary bytes up to a frame never do more than a CodecError', () => {
  fc.assert(
    fc.property(fc.uint8Array({ maxLength: limits.frame }), (bytes) => decodeDamaged(Buffer.from(bytes))),
    { numRuns: 2000 },
  );
});
