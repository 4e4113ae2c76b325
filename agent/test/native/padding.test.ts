import assert from 'node:assert/strict';
import {
  constants,
  createHash,
  createPrivateKey,
  createPublicKey,
  generateKeyPairSync,
  generatePrimeSync,
  privateDecrypt,
  privateEncrypt,
  publicDecrypt,
  publicEncrypt,
  randomBytes,
  sign,
  verify,
  type KeyObject,
} from 'node:crypto';
import { describe, test } from 'node:test';
import { native } from '@keyagent/agent/native/index.js';
import { hashLength } from '@keyagent/protocol';

const hashes = ['sha1', 'sha256', 'sha384', 'sha512'] as const;
const { publicKey, privateKey } = generateKeyPairSync('rsa', { modulusLength: 2048 });
/** One bit more than whole bytes: a PSS message is then one byte shorter than the modulus. */
const oddBits = 2049;
const odd = oddKey();

function rawPrivate(input: Uint8Array): Buffer {
  return privateDecrypt({ key: privateKey, padding: constants.RSA_NO_PADDING }, input);
}

/** OpenSSL makes keys with an even number of bits only. */
function oddKey(): { publicKey: KeyObject; privateKey: KeyObject } {
  const prime = (bits: number): bigint => generatePrimeSync(bits, { bigint: true });
  for (;;) {
    const [p, q, e] = [prime(1025), prime(1024), 65537n];
    const n = p * q;
    if (n.toString(2).length !== oddBits) continue;
    const d = inverse(e, (p - 1n) * (q - 1n));
    const numbers = { n, e, d, p, q, dp: d % (p - 1n), dq: d % (q - 1n), qi: inverse(q, p) };
    const jwk = Object.fromEntries(Object.entries(numbers).map(([name, value]) => [name, base64url(value)]));
    const odd = createPrivateKey({ format: 'jwk', key: { kty: 'RSA', ...jwk } });
    return { privateKey: odd, publicKey: createPublicKey(odd) };
  }
}

function inverse(a: bigint, modulus: bigint): bigint {
  let [r, nextR, t, nextT] = [modulus, a % modulus, 0n, 1n];
  while (nextR !== 0n) {
    const quotient = r / nextR;
    [r, nextR, t, nextT] = [nextR, r - quotient * nextR, nextT, t - quotient * nextT];
  }
  return ((t % modulus) + modulus) % modulus;
}

function base64url(value: bigint): string {
  const hex = value.toString(16);
  return Buffer.from(hex.padStart(hex.length + (hex.length % 2), '0'), 'hex').toString('base64url');
}

void describe('tlsPremaster', () => {
  const secret = Buffer.concat([Buffer.of(3, 3), Buffer.alloc(46, 0x5e)]);
  const fallback = Buffer.alloc(48, 0xfa);
  const decode = (em: Uint8Array, client = 0x0303, negotiated = 0): Buffer =>
    native.tlsPremaster(em, fallback, client, negotiated);
  const encode = (): Buffer =>
    Buffer.concat([Buffer.of(0, 2), Buffer.alloc(205, 0xa5), Buffer.of(0), secret]);

  test('returns the secret that OpenSSL padded', () => {
    const ciphertext = publicEncrypt({ key: publicKey, padding: constants.RSA_PKCS1_PADDING }, secret);
    assert.deepEqual(decode(rawPrivate(ciphertext)), secret);
  });

  const bad: [string, (em: Buffer) => Buffer][] = [
    ['a first byte that is not zero', (em) => withByte(em, 0, 1)],
    ['block type 0', (em) => withByte(em, 1, 0)],
    ['block type 1', (em) => withByte(em, 1, 1)],
    ['a zero at the beginning of the padding', (em) => withByte(em, 2, 0)],
    ['a zero at the end of the padding', (em) => withByte(em, 206, 0)],
    ['no separator', (em) => withByte(em, 207, 0xa5)],
    ['a secret one byte shorter', (em) => withByte(withByte(em, 207, 0xa5), 208, 0)],
    ['a secret one byte longer', (em) => withByte(em, 206, 0)],
    ['another major version', (em) => withByte(em, 208, 2)],
    ['another minor version', (em) => withByte(em, 209, 1)],
    ['zeros only', (em) => Buffer.alloc(em.length)],
    ['ones only', (em) => Buffer.alloc(em.length, 0xff)],
  ];
  for (const [what, change] of bad) {
    test(`returns the fallback for ${what}`, () => assert.deepEqual(decode(change(encode())), fallback));
  }

  test('accepts the negotiated version beside the offered one, unless it is 0', () => {
    assert.deepEqual(decode(encode(), 0x0304, 0x0303), secret);
    assert.deepEqual(decode(encode(), 0x0303, 0x0301), secret);
    assert.deepEqual(decode(encode(), 0x0304, 0), fallback);
    assert.deepEqual(decode(withByte(withByte(encode(), 208, 0), 209, 0), 0x0303, 0), fallback);
  });

  test('wants at least eight bytes of padding', () => {
    const shortest = Buffer.concat([Buffer.of(0, 2), Buffer.alloc(8, 1), Buffer.of(0), secret]);
    assert.deepEqual(decode(shortest), secret);
    assert.throws(() => decode(shortest.subarray(1)), { code: 'ERR_OUT_OF_RANGE' });
  });

  test('checks its arguments', () => {
    assert.throws(() => native.tlsPremaster(encode(), fallback.subarray(1), 3, 3), {
      code: 'ERR_OUT_OF_RANGE',
    });
    assert.throws(() => native.tlsPremaster(Buffer.alloc(1025), fallback, 3, 3), {
      code: 'ERR_OUT_OF_RANGE',
    });
    assert.throws(() => decode(encode(), 0x10000), { code: 'ERR_OUT_OF_RANGE' });
    assert.throws(() => decode(encode(), -1), { code: 'ERR_OUT_OF_RANGE' });
    assert.throws(() => decode(encode(), NaN), { code: 'ERR_OUT_OF_RANGE' });
    assert.throws(() => decode('text' as never), { code: 'ERR_INVALID_ARG_TYPE' });
    assert.throws(() => decode(new Uint16Array(128) as never), { code: 'ERR_INVALID_ARG_TYPE' });
    assert.throws(() => (native.tlsPremaster as () => Buffer)(), { code: 'ERR_INVALID_ARG_TYPE' });
  });
});

void describe('oaepDecode', () => {
  for (const hash of hashes) {
    const room = 256 - 2 * hashLength[hash] - 2;
    const encrypt = (message: Uint8Array, oaepLabel?: Buffer): Buffer =>
      publicEncrypt({ key: publicKey, oaepHash: hash, ...(oaepLabel && { oaepLabel }) }, message);

    test(`with ${hash} decodes what OpenSSL encoded, from no byte to as many as fit`, () => {
      for (const length of [0, 1, 2, room - 1, room]) {
        const message = randomBytes(length);
        assert.deepEqual(native.oaepDecode(rawPrivate(encrypt(message)), hash), message);
      }
    });

    test(`with ${hash} gives null for a label, and for a change in any part`, () => {
      assert.equal(native.oaepDecode(rawPrivate(encrypt(Buffer.of(1), Buffer.from('label'))), hash), null);
      const em = rawPrivate(encrypt(Buffer.from('message')));
      for (const at of [0, 1, hashLength[hash], hashLength[hash] + 1, 2 * hashLength[hash] + 1, 200, 255]) {
        assert.equal(native.oaepDecode(withByte(em, at, (em[at] ?? 0) ^ 1), hash), null, `byte ${at}`);
      }
    });

    test(`with ${hash} gives null for an encoding by another hash, PKCS#1 v1.5 and noise`, () => {
      const other = hash === 'sha256' ? 'sha384' : 'sha256';
      const message = Buffer.from('message');
      const byOther = publicEncrypt({ key: publicKey, oaepHash: other }, message);
      const v15 = publicEncrypt({ key: publicKey, padding: constants.RSA_PKCS1_PADDING }, message);
      for (const em of [rawPrivate(byOther), rawPrivate(v15), randomBytes(256), Buffer.alloc(256)]) {
        assert.equal(native.oaepDecode(em, hash), null);
      }
    });

    test(`with ${hash} checks its arguments`, () => {
      const least = 2 * hashLength[hash] + 2;
      assert.equal(native.oaepDecode(Buffer.alloc(least), hash), null);
      assert.throws(() => native.oaepDecode(Buffer.alloc(least - 1), hash), { code: 'ERR_OUT_OF_RANGE' });
    });
  }

  test('knows no other hash', () => {
    assert.throws(() => native.oaepDecode(Buffer.alloc(256), 'md5' as 'sha1'), {
      code: 'ERR_INVALID_ARG_VALUE',
    });
    assert.throws(() => native.oaepDecode(Buffer.alloc(256), 'sha512/256' as 'sha1'), {
      code: 'ERR_OUT_OF_RANGE',
    });
    assert.throws(() => native.oaepDecode(Buffer.alloc(256), 'sha1\0' as 'sha1'), {
      code: 'ERR_INVALID_ARG_TYPE',
    });
  });
});

void describe('pssEncode and pssVerify', () => {
  const message = Buffer.from('message');
  const padding = constants.RSA_NO_PADDING;
  const digestOf = (hash: string): Buffer => createHash(hash).update(message).digest();

  for (const [bits, pair] of [
    [2048, { publicKey, privateKey }],
    [oddBits, odd],
  ] as const) {
    for (const hash of hashes) {
      for (const saltLength of [0, 8, hashLength[hash]]) {
        const options = { padding: constants.RSA_PKCS1_PSS_PADDING, saltLength };

        test(`${hash}, RSA-${bits}, salt of ${saltLength}: OpenSSL verifies what was encoded here`, () => {
          const em = native.pssEncode(digestOf(hash), hash, randomBytes(saltLength), bits);
          const signature = privateEncrypt({ key: pair.privateKey, padding }, em);
          assert.ok(verify(hash, message, { key: pair.publicKey, ...options }, signature));
        });

        test(`${hash}, RSA-${bits}, salt of ${saltLength}: what OpenSSL signed verifies here, and nothing near it`, () => {
          const signature = sign(hash, message, { key: pair.privateKey, ...options });
          const em = publicDecrypt({ key: pair.publicKey, padding }, signature);
          const digest = digestOf(hash);
          assert.equal(native.pssVerify(em, digest, hash, saltLength, bits), true);
          assert.equal(
            native.pssVerify(em, withByte(digest, 0, (digest[0] ?? 0) ^ 1), hash, saltLength, bits),
            false,
          );
          assert.equal(native.pssVerify(em, digest, hash, saltLength + 1, bits), false);
          for (let at = 0; at < em.length; at += 7) {
            const changed = withByte(em, at, (em[at] ?? 0) ^ 0x80);
            assert.equal(native.pssVerify(changed, digest, hash, saltLength, bits), false, `byte ${at}`);
          }
        });
      }
    }
  }

  test('refuse what does not fit, and lengths that are not what they say', () => {
    const digest = digestOf('sha256');
    assert.throws(() => native.pssEncode(digest, 'sha256', Buffer.alloc(223), 2048), {
      code: 'ERR_OUT_OF_RANGE',
    });
    assert.throws(() => native.pssEncode(digest, 'sha512', Buffer.alloc(0), 2048), {
      code: 'ERR_OUT_OF_RANGE',
    });
    assert.throws(() => native.pssEncode(digest, 'sha256', Buffer.alloc(0), 8193), {
      code: 'ERR_OUT_OF_RANGE',
    });
    const verifyLength = (length: number): boolean =>
      native.pssVerify(Buffer.alloc(length), digest, 'sha256', 32, 2048);
    assert.throws(() => verifyLength(255), { code: 'ERR_OUT_OF_RANGE' });
    assert.throws(() => verifyLength(257), { code: 'ERR_OUT_OF_RANGE' });
  });
});

function withByte(bytes: Buffer, at: number, value: number): Buffer {
  const changed = Buffer.from(bytes);
  changed[at] = value;
  return changed;
}
