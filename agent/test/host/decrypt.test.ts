import assert from 'node:assert/strict';
import { constants, createPublicKey, publicEncrypt, randomBytes, type KeyObject } from 'node:crypto';
import { after, before, describe, test } from 'node:test';
import type { HashName } from '@keyagent/protocol';
import { SoftHsm } from './softhsm.js';
import { UnlockedHost } from './unlocked-host.js';

const hashes = ['sha1', 'sha256', 'sha384', 'sha512'] as const satisfies readonly HashName[];
const tls12 = { mechanism: 'rsa-pkcs1-tls', clientVersion: 0x0303, negotiatedVersion: 0x0303 } as const;
const modulusLength = 256;

function premaster(version = 0x0303): Buffer {
  const secret = randomBytes(48);
  secret.writeUInt16BE(version, 0);
  return secret;
}

void describe('decrypt', { timeout: 60_000 }, () => {
  const hsm = new SoftHsm();
  let host: UnlockedHost;
  let key: KeyObject;

  before(async () => {
    hsm.initToken('web');
    hsm.generate('web', 'rsa:2048', '01', 'rsa');
    hsm.generate('web', 'EC:prime256v1', '02', 'ec');
    host = await UnlockedHost.start(hsm.env);
    key = createPublicKey({ format: 'der', type: 'spki', key: Buffer.from(host.key('rsa').spki) });
  });
  after(async () => {
    await host.process.close();
    hsm.remove();
  });

  const oaep = (hash: HashName, data: Uint8Array, label?: Buffer): Buffer => {
    const padding = constants.RSA_PKCS1_OAEP_PADDING;
    return publicEncrypt({ key, padding, oaepHash: hash, ...(label && { oaepLabel: label }) }, data);
  };
  const pkcs1 = (data: Uint8Array): Buffer =>
    publicEncrypt({ key, padding: constants.RSA_PKCS1_PADDING }, data);
  const raw = (em: Uint8Array): Buffer => publicEncrypt({ key, padding: constants.RSA_NO_PADDING }, em);
  const modulus = (): Buffer => Buffer.from(key.export({ format: 'jwk' }).n ?? '', 'base64url');

  for (const hash of hashes) {
    test(`rsa-oaep with ${hash} decrypts what OpenSSL encrypted`, async () => {
      for (const length of [0, 1, 32, 60]) {
        const message = randomBytes(length);
        const ciphertext = oaep(hash, message);
        const plaintext = await host.decrypt('rsa', { mechanism: 'rsa-oaep', hash, ciphertext });
        assert.deepEqual(Buffer.from(plaintext), message);
      }
    });

    test(`rsa-oaep with ${hash} has one answer to everything that is wrong`, async () => {
      const otherHash = hash === 'sha256' ? 'sha512' : 'sha256';
      const wrong = {
        'another hash': oaep(otherHash, Buffer.from('x')),
        'a label': oaep(hash, Buffer.from('x'), Buffer.from('label')),
        'PKCS#1 v1.5 padding': pkcs1(Buffer.from('x')),
        zero: Buffer.alloc(modulusLength),
        'one byte short': oaep(hash, Buffer.from('x')).subarray(1),
        'one byte long': Buffer.concat([Buffer.of(0), oaep(hash, Buffer.from('x'))]),
        'no bytes': Buffer.alloc(0),
        'the modulus': modulus(),
        'beyond the modulus': Buffer.alloc(modulusLength, 0xff),
      };
      for (const [what, ciphertext] of Object.entries(wrong)) {
        const call = host.decrypt('rsa', { mechanism: 'rsa-oaep', hash, ciphertext });
        const expected = {
          code: 'DECRYPT_FAILED',
          message: 'the ciphertext does not decrypt',
          ckr: undefined,
        };
        await assert.rejects(call, expected, what);
      }
    });
  }

  test('rsa-pkcs1-tls returns the premaster secret of a right padding and version', async () => {
    for (let count = 0; count < 20; count++) {
      const secret = premaster();
      assert.deepEqual(
        Buffer.from(await host.decrypt('rsa', { ...tls12, ciphertext: pkcs1(secret) })),
        secret,
      );
    }
  });

  test('rsa-pkcs1-tls accepts the negotiated version where it differs, and no other', async () => {
    const older = { ...tls12, negotiatedVersion: 0x0302 };
    const secret = premaster(0x0302);
    const other = premaster(0x0301);
    assert.deepEqual(Buffer.from(await host.decrypt('rsa', { ...older, ciphertext: pkcs1(secret) })), secret);
    assert.notDeepEqual(
      Buffer.from(await host.decrypt('rsa', { ...older, ciphertext: pkcs1(other) })),
      other,
    );
  });

  test('rsa-pkcs1-tls returns 48 random bytes for everything that is wrong', async () => {
    const secret = premaster();
    const good = Buffer.concat([Buffer.of(0, 2), Buffer.alloc(205, 0x77), Buffer.of(0), secret]);
    const changed = (at: number, value: number): Buffer => {
      const em = Buffer.from(good);
      em[at] = value;
      return raw(em);
    };
    const wrong = {
      'block type 1': changed(1, 1),
      'a zero in the padding': changed(100, 0),
      'no separator': changed(207, 0x77),
      'another version': changed(209, 0x02),
      'a secret of 47 bytes': pkcs1(secret.subarray(1)),
      'a secret of 49 bytes': pkcs1(Buffer.concat([secret, Buffer.of(0)])),
      'no secret': pkcs1(Buffer.alloc(0)),
      'OAEP padding': oaep('sha1', secret),
      zero: Buffer.alloc(modulusLength),
      'one byte short': pkcs1(secret).subarray(1),
      'no bytes': Buffer.alloc(0),
      'the modulus': modulus(),
      'beyond the modulus': Buffer.alloc(modulusLength, 0xff),
    };
    for (const [what, ciphertext] of Object.entries(wrong)) {
      const first = Buffer.from(await host.decrypt('rsa', { ...tls12, ciphertext }));
      const second = Buffer.from(await host.decrypt('rsa', { ...tls12, ciphertext }));
      assert.equal(first.length, 48, what);
      assert.notDeepEqual(first, second, `${what}: random each time`);
      assert.ok(!first.includes(secret.subarray(2, 47)), what);
    }
    assert.deepEqual(Buffer.from(await host.decrypt('rsa', { ...tls12, ciphertext: raw(good) })), secret);
  });

  const refused: [string, string, object, string][] = [
    ['rsa-pkcs1-tls without versions', 'rsa', { mechanism: 'rsa-pkcs1-tls' }, 'INVALID'],
    ['a version of three bytes', 'rsa', { ...tls12, clientVersion: 0x10303 }, 'INVALID'],
    ['rsa-oaep without a hash', 'rsa', { mechanism: 'rsa-oaep' }, 'INVALID'],
    ['rsa-oaep with an unknown hash', 'rsa', { mechanism: 'rsa-oaep', hash: 'md5' }, 'INVALID'],
    ['a signature', 'rsa', { mechanism: 'rsa-pss', hash: 'sha256' }, 'INVALID'],
    ['an EC key', 'ec', tls12, 'MECHANISM'],
  ];
  for (const [what, label, params, code] of refused) {
    test(`refuses ${what}`, async () => {
      const request: object = { ciphertext: pkcs1(premaster()), ...params };
      await assert.rejects(host.decrypt(label, request as Parameters<typeof host.decrypt>[1]), { code });
    });
  }

  test('60 decryptions at once over 4 sessions return each its own plaintext', async () => {
    const jobs = Array.from({ length: 60 }, async (_, index) => {
      const message = randomBytes(32);
      const hash = hashes[index % hashes.length] ?? 'sha256';
      const ciphertext = oaep(hash, message);
      return Buffer.from(await host.decrypt('rsa', { mechanism: 'rsa-oaep', hash, ciphertext })).equals(
        message,
      );
    });
    assert.deepEqual(new Set(await Promise.all(jobs)), new Set([true]));
  });
});
