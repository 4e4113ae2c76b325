import assert from 'node:assert/strict';
import { test } from 'node:test';
import {
  AgentError,
  CodecError,
  decodeIncoming,
  decodeReply,
  encodeNotice,
  encodeReply,
  encodeRequest,
  errorTable,
  FrameReader,
  isNotice,
  isRequest,
  limits,
  methods,
  notifications,
  type Method,
  type Notice,
  type Reply,
  type Request,
} from '@keyagent/protocol';
import { bodyOf, malformed, valid, type MalformedVector, type ValidVector } from './vectors.js';

/** A vector's body through the decoder of the side that reads it. */
function decode(
  { direction, face, from, method, id }: Partial<ValidVector>,
  body: Buffer,
): Request | Reply | Notice {
  if (direction === 'reply' || from === 'agent') {
    return decodeReply(body, (open) => (open === (id ?? 7) ? (method as Method) : undefined));
  }
  return decodeIncoming(body, face ?? 'client');
}

function encode({ direction, method, value }: ValidVector): Buffer {
  if (direction === 'request') return encodeRequest({ method, ...value } as Request);
  if (direction === 'reply') return encodeReply(method as Method, value as unknown as Reply);
  return encodeNotice({ method, ...value } as Notice);
}

function refusalOf({ direction, face, hex, method }: MalformedVector): AgentError {
  try {
    for (const body of new FrameReader(limits.frame).push(Buffer.from(hex, 'hex'))) {
      decode({ direction, face, ...(method === undefined ? {} : { method }) }, body);
    }
  } catch (error) {
    assert(error instanceof AgentError, String(error));
    return error;
  }
  return assert.fail('it was accepted');
}

test('every valid vector decodes to its value', async (t) => {
  for (const vector of valid) {
    await t.test(`${vector.direction}: ${vector.name}`, () => {
      const message = decode(vector, bodyOf(vector));
      const expected =
        vector.direction === 'reply' ? vector.value : { method: vector.method, ...vector.value };
      assert.deepEqual(message, expected);
    });
  }
});

test('every valid vector in the shortest encoding is what the encoder writes', () => {
  const shortest = valid.filter(({ longForm }) => longForm !== true);
  assert(shortest.length > 80);
  for (const vector of shortest) assert.equal(encode(vector).toString('hex'), vector.hex, vector.name);
});

test('every malformed vector is refused with its code, id and severity', async (t) => {
  for (const vector of malformed) {
    await t.test(`${vector.direction}: ${vector.name}`, () => {
      const error = refusalOf(vector);
      const id = error instanceof CodecError ? error.id : 0;
      // An error of the frame reader leaves no frame boundary: always fatal.
      const fatal = error instanceof CodecError ? error.fatal : true;
      assert.deepEqual(
        { code: error.code, fatal, id },
        { code: vector.code, fatal: vector.fatal, id: vector.id },
      );
    });
  }
});

test('the valid vectors cover every method, notification and error number that travels', () => {
  const seen = (direction: string): Set<string> =>
    new Set(
      valid.filter((vector) => vector.direction === direction).map(({ method, face }) => `${method} ${face}`),
    );
  const faced = Object.entries(methods).flatMap(([method, { faces }]) =>
    faces.map((face) => `${method} ${face}`),
  );
  assert.deepEqual(new Set(faced), seen('request'));
  for (const method of Object.keys(methods)) {
    assert(
      valid.some(
        (vector) => vector.direction === 'reply' && vector.method === method && 'result' in vector.value,
      ),
      method,
    );
  }
  for (const name of Object.keys(notifications)) assert(seen('notice').has(`${name} client`), name);
  const numbers = new Set(
    valid
      .map(({ value }) => (value['error'] as { code: number } | undefined)?.code)
      .filter((code) => code !== undefined),
  );
  for (const [name, { number }] of Object.entries(errorTable))
    assert.equal(numbers.has(number), number < 200, name);
});

test('the valid vectors carry every field of every method', () => {
  for (const [method, { params, result }] of Object.entries(methods)) {
    const values = valid.filter((vector) => vector.method === method).map(({ value }) => value);
    for (const [part, fields] of [
      ['params', params],
      ['result', result],
    ] as const) {
      const carried = new Set(
        values.flatMap((value) => Object.keys((value[part] as object | undefined) ?? {})),
      );
      for (const field of Object.keys(fields)) assert(carried.has(field), `${method}.${part}.${field}`);
    }
  }
});

test('every valid body cut at any byte is refused as malformed', () => {
  for (const vector of valid) {
    const body = bodyOf(vector);
    for (let length = 0; length < body.length; length++) {
      assert.throws(
        () => decode(vector, body.subarray(0, length)),
        (error) => error instanceof CodecError && error.code === 'MALFORMED' && error.fatal,
        `${vector.name}, ${length} bytes`,
      );
    }
  }
});

test('every valid body with a byte after it is refused as malformed', () => {
  for (const vector of valid) {
    const body = Buffer.concat([bodyOf(vector), Buffer.from([0xc0])]);
    assert.throws(() => decode(vector, body), { code: 'MALFORMED' }, vector.name);
  }
});

test('binary fields are views of the body, not copies', () => {
  const body = encodeRequest({
    id: 1,
    method: 'unlock',
    params: { pin: Buffer.from('1234') },
  }).subarray(4);
  const message = decodeIncoming(body, 'control');
  assert(isRequest(message) && message.method === 'unlock');
  body.fill(0);
  assert.deepEqual(message.params.pin, Buffer.alloc(4));
});

test('a decoded map has only its own fields, whatever the prototype holds', () => {
  const message = decodeIncoming(encodeRequest({ id: 1, method: 'keys', params: {} }).subarray(4), 'client');
  assert(isRequest(message) && message.method === 'keys');
  assert.deepEqual(Object.keys(message.params), []);
  assert.equal(message.params.after, undefined);
});

test('encodeRequest refuses a field over its limit, an unknown field and an id out of range', () => {
  const uri = `pkcs11:object=${'a'.repeat(limits.uri)}`;
  assert.throws(() => encodeRequest({ id: 1, method: 'key', params: { uri } }), { code: 'TOO_LARGE' });
  const params = { uri: 'pkcs11:', pin: '1234' };
  assert.throws(() => encodeRequest({ id: 1, method: 'key', params }), { code: 'INVALID' });
  for (const id of [0, -1, 1.5, 2 ** 32, Number.NaN]) {
    assert.throws(() => encodeRequest({ id, method: 'keys', params: {} }), { code: 'INVALID' }, String(id));
  }
});

test('encodeRequest refuses text that has no UTF-8, and a byte order mark', () => {
  for (const name of ['\ud800', 'a\udc00b', `${'a'.repeat(60)}\ud800`, '\ufeffa']) {
    const params = { min: 1, max: 1, name };
    assert.throws(
      () => encodeRequest({ id: 1, method: 'hello', params }),
      { code: 'INVALID' },
      JSON.stringify(name),
    );
  }
});

test('encodeReply refuses what the schema does not promise, and a body over the frame limit', () => {
  const key = {
    uri: `pkcs11:object=${'a'.repeat(1000)}`,
    algorithm: 'rsa',
    bits: 2048,
    state: 'verified',
  } as const;
  const result = { keys: Array.from({ length: 20 }, () => key), more: true };
  assert.throws(() => encodeReply('keys', { id: 1, result }), { code: 'TOO_LARGE' });
  const wrong = { id: 1, result: { signature: 'text' } } as unknown as Reply;
  assert.throws(() => encodeReply('sign', wrong), { code: 'INTERNAL' });
  assert.throws(() => encodeReply(undefined, { id: 1, result: {} }), { code: 'INTERNAL' });
});

test('isRequest and isNotice tell messages apart', () => {
  const request = decodeIncoming(
    encodeRequest({ id: 9, method: 'status', params: {} }).subarray(4),
    'client',
  );
  const notice = decodeIncoming(encodeNotice({ method: 'cancel', params: { id: 9 } }).subarray(4), 'client');
  assert.deepEqual([isRequest(request), isNotice(request)], [true, false]);
  assert.deepEqual([isRequest(notice), isNotice(notice)], [false, true]);
});
