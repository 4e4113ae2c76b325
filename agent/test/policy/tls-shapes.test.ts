import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { createECDH, getDiffieHellman, randomBytes } from 'node:crypto';
import { test } from 'node:test';
import {
  isClientCertificateVerify,
  isServerCertificateVerify,
  isServerKeyExchange,
} from '@keyagent/agent/policy/tls-shapes.js';
import {
  certificateVerify,
  changed,
  clientContext,
  curves,
  dhParams,
  ecdhParams,
  resized,
  serverContext,
  serverKeyExchange,
} from './tls-messages.js';

const shapes = { isServerCertificateVerify, isClientCertificateVerify, isServerKeyExchange };

/** No shape at all takes the message. */
function assertNoShape(message: Uint8Array, what: string): void {
  for (const [name, shape] of Object.entries(shapes)) assert.equal(shape(message), false, `${name}: ${what}`);
}

for (const hash of ['sha256', 'sha384'] as const) {
  for (const [context, own, other] of [
    [serverContext, isServerCertificateVerify, isClientCertificateVerify],
    [clientContext, isClientCertificateVerify, isServerCertificateVerify],
  ] as const) {
    test(`"${context}" over ${hash} has its shape only when it is exact`, () => {
      const message = certificateVerify(context, hash);
      assert.equal(message.length, hash === 'sha256' ? 130 : 146);
      assert.equal(own(message), true);
      assert.equal(other(message), false);
      for (const [what, bytes] of resized(message)) assertNoShape(bytes, what);
      for (const [what, bytes] of changed(message, 0, 64 + 33 + 1)) assertNoShape(bytes, what);
    });
  }
}

test('a transcript hash of any other length has no shape', () => {
  const start = certificateVerify(serverContext, 'sha256').subarray(0, 98);
  for (let length = 0; length <= 80; length++) {
    const allowed = length === 32 || length === 48;
    assert.equal(isServerCertificateVerify(Buffer.concat([start, randomBytes(length)])), allowed);
  }
});

for (const { name, id, point } of curves) {
  test(`a ServerKeyExchange with ${name} has its shape only when it is exact`, () => {
    const message = serverKeyExchange(ecdhParams(id, point()));
    assert.equal(isServerKeyExchange(message), true);
    for (const [what, bytes] of resized(message)) assertNoShape(bytes, what);
    // Curve type, curve and length of the point.
    for (const [what, bytes] of changed(message, 64, 68)) assertNoShape(bytes, what);
  });
}

for (const { name, id, point } of curves.slice(0, 3)) {
  test(`a point that is not on ${name} has no shape`, () => {
    const good = point();
    for (const [what, bytes] of changed(good, 0, good.length)) {
      assertNoShape(serverKeyExchange(ecdhParams(id, bytes)), what);
    }
    const zero = Buffer.concat([Buffer.of(4), Buffer.alloc(good.length - 1)]);
    const huge = Buffer.concat([Buffer.of(4), Buffer.alloc(good.length - 1, 0xff)]);
    const compressed = Buffer.concat([Buffer.of(2), good.subarray(1, (good.length + 1) / 2)]);
    const infinity = Buffer.of(0);
    for (const bytes of [zero, huge, compressed, infinity]) {
      assertNoShape(serverKeyExchange(ecdhParams(id, bytes)), bytes.toString('hex'));
    }
    for (const other of curves.filter((each) => each.id !== id)) {
      assertNoShape(serverKeyExchange(ecdhParams(other.id, good)), `announced as ${other.name}`);
    }
  });
}

test('a coordinate has one form: with the prime added it has no shape', () => {
  const p521 = 2n ** 521n - 1n;
  const point = createECDH('secp521r1').generateKeys();
  const shifted = (from: number): Buffer => {
    const more = BigInt(`0x${point.subarray(from, from + 66).toString('hex')}`) + p521;
    const copy = Buffer.from(point);
    copy.set(Buffer.from(more.toString(16).padStart(132, '0'), 'hex'), from);
    return copy;
  };
  assert.ok(isServerKeyExchange(serverKeyExchange(ecdhParams(25, point))));
  for (const from of [1, 67]) assertNoShape(serverKeyExchange(ecdhParams(25, shifted(from))), String(from));
});

test('other curves have no shape, however well their points are formed', () => {
  // sect571r1, secp256k1, brainpoolP256r1, and an explicit curve.
  const point = curves[0]?.point() ?? Buffer.alloc(0);
  for (const id of [0, 14, 22, 26, 0xff01])
    assertNoShape(serverKeyExchange(ecdhParams(id, point)), String(id));
  const explicit = ecdhParams(29, randomBytes(32));
  explicit[0] = 1;
  assertNoShape(serverKeyExchange(explicit), 'explicit');
});

const two = Buffer.of(2);

/** What openssl has of a group: SEQUENCE { prime, generator, ... }. */
function group(option: string): { prime: Buffer; generator: Buffer } {
  const args = ['genpkey', '-genparam', '-algorithm', 'DH', '-pkeyopt', option];
  const pem = execFileSync('openssl', args, { encoding: 'utf8', stdio: ['ignore', 'pipe', 'ignore'] });
  const [, base64 = ''] = pem.split('-----').filter((_, i) => i > 0);
  const prime = derValue(derValue(Buffer.from(base64, 'base64')).value);
  return { prime: unsigned(prime.value), generator: unsigned(derValue(prime.rest).value) };
}

function derValue(der: Buffer): { value: Buffer; rest: Buffer } {
  const short = der.readUInt8(1);
  const count = short < 0x80 ? 0 : short - 0x80;
  const length = count === 0 ? short : der.readUIntBE(2, count);
  const end = 2 + count + length;
  return { value: der.subarray(2 + count, end), rest: der.subarray(end) };
}

function unsigned(integer: Buffer): Buffer {
  return integer[0] === 0 ? integer.subarray(1) : integer;
}

const modp = { modp5: 1536, modp14: 2048, modp15: 3072, modp16: 4096, modp17: 6144, modp18: 8192 };
const primes: [string, Buffer][] = [
  ...Object.entries(modp).map(([name, bits]): [string, Buffer] => {
    const prime = getDiffieHellman(name).getPrime();
    assert.equal(prime.length, bits / 8);
    return [`RFC 3526 ${bits}`, prime];
  }),
  ...[2048, 3072, 4096, 6144, 8192].map((bits): [string, Buffer] => {
    const { prime, generator } = group(`group:ffdhe${bits}`);
    assert.deepEqual(generator, two);
    return [`RFC 7919 ${bits}`, prime];
  }),
];

for (const [name, prime] of primes) {
  test(`a ServerKeyExchange with the group of ${name} bits has its shape only when it is exact`, () => {
    const value = Buffer.concat([Buffer.of(0x7f), randomBytes(prime.length - 1)]);
    const message = serverKeyExchange(dhParams(prime, two, value));
    assert.equal(isServerKeyExchange(message), true);
    for (const [what, bytes] of resized(message)) assertNoShape(bytes, what);
    // All lengths, the prime and the generator: every byte up to the public value.
    for (const [what, bytes] of changed(message, 64, message.length - value.length))
      assertNoShape(bytes, what);
  });
}

test('a DHE public value is between 1 and p-1, padded or without leading zeros', () => {
  const prime = getDiffieHellman('modp14').getPrime();
  const withValue = (value: Uint8Array) =>
    isServerKeyExchange(serverKeyExchange(dhParams(prime, two, value)));
  const padded = (last: number) => Buffer.concat([Buffer.alloc(prime.length - 1), Buffer.of(last)]);
  const below = (by: number) => Buffer.concat([prime.subarray(0, -1), Buffer.of((prime.at(-1) ?? 0) - by)]);
  for (const value of [two, padded(2), below(2)]) assert.equal(withValue(value), true, value.toString('hex'));
  for (const value of [
    Buffer.alloc(0),
    Buffer.of(0),
    Buffer.of(1),
    Buffer.of(0, 2),
    padded(0),
    padded(1),
    below(1),
    prime,
    Buffer.concat([prime, Buffer.of(0)]),
  ]) {
    assert.equal(withValue(value), false, value.toString('hex'));
  }
});

test('a DHE group of anybody else has no shape, well-made or not', () => {
  const rfc5114 = group('dh_rfc5114:3');
  const small = getDiffieHellman('modp2').getPrime();
  const zero = Buffer.concat([Buffer.of(0), getDiffieHellman('modp14').getPrime()]);
  assert.equal(rfc5114.prime.length, 256);
  for (const [what, params] of [
    ['RFC 5114', dhParams(rfc5114.prime, rfc5114.generator, two)],
    ['RFC 5114 with generator 2', dhParams(rfc5114.prime, two, two)],
    ['1024 bits', dhParams(small, two, two)],
    ['a leading zero', dhParams(zero, two, two)],
    ['another generator', dhParams(getDiffieHellman('modp14').getPrime(), Buffer.of(5), two)],
    [
      'the generator with a leading zero',
      dhParams(getDiffieHellman('modp14').getPrime(), Buffer.of(0, 2), two),
    ],
    ['no prime', dhParams(Buffer.alloc(0), two, two)],
  ] as const) {
    assertNoShape(serverKeyExchange(params), what);
  }
});

/** A CSR whose subject holds the text, signed by openssl; answers what its signature is over. */
function signingRequest(subject: string): Buffer {
  const der = execFileSync(
    'openssl',
    ['req', '-new', '-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:P-256', '-noenc'].concat([
      '-subj',
      `/CN=${subject}`,
      '-outform',
      'DER',
      '-keyout',
      '/dev/null',
    ]),
    { stdio: ['ignore', 'pipe', 'ignore'] },
  );
  const { value } = derValue(der);
  return value.subarray(0, value.length - derValue(value).rest.length);
}

test('a certificate request that carries the context string has no shape', () => {
  for (const context of [serverContext, clientContext]) assertNoShape(signingRequest(context), context);
  // As long as a CertificateVerify over SHA-384. (130 bytes are no DER: a length of 127 takes one byte, 128 two.)
  const short = signingRequest('x');
  const request = signingRequest('x'.repeat(146 - short.length));
  assert.equal(request.length, 146);
  assertNoShape(request, '146 bytes');
});

test('a JWT that carries the context string, or has the length of a message, has no shape', () => {
  const part = (json: object) => Buffer.from(JSON.stringify(json)).toString('base64url');
  const jwt = (claims: object) => Buffer.from(`${part({ alg: 'ES256' })}.${part(claims)}`);
  for (const context of [serverContext, clientContext]) {
    assertNoShape(jwt({ sub: `${' '.repeat(64)}${context}\0` }), context);
    assertNoShape(
      Buffer.concat([Buffer.alloc(64, ' '), Buffer.from(`${context}\0`), jwt({ sub: 'root' })]),
      context,
    );
  }
  for (let length = 90; length < 200; length++) {
    assertNoShape(Buffer.from(jwt({ sub: 'x'.repeat(length) }).subarray(0, length)), `${length} bytes`);
  }
});
