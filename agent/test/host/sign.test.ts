import assert from 'node:assert/strict';
import { constants, createHash, createPublicKey, randomBytes, verify, type KeyObject } from 'node:crypto';
import { after, before, describe, test } from 'node:test';
import { hashLength, type HashName, type Mechanism } from '@keyagent/protocol';
import { SoftHsm } from './softhsm.js';
import { UnlockedHost } from './unlocked-host.js';

const hashes = ['sha256', 'sha384', 'sha512'] as const satisfies readonly HashName[];
const rsaKeys = ['rsa2048', 'rsa3072'] as const;
const ecKeys = ['p256', 'p384', 'p521'] as const;
const message = Buffer.from('a message of no importance');

function digestOf(hash: HashName, data: Uint8Array = message): Buffer {
  return createHash(hash).update(data).digest();
}

void describe('sign', { timeout: 120_000 }, () => {
  const hsm = new SoftHsm();
  let host: UnlockedHost;

  before(async () => {
    hsm.initToken('web');
    hsm.generate('web', 'rsa:2048', '01', 'rsa2048');
    hsm.generate('web', 'rsa:3072', '02', 'rsa3072');
    hsm.generate('web', 'EC:prime256v1', '03', 'p256');
    hsm.generate('web', 'EC:secp384r1', '04', 'p384');
    hsm.generate('web', 'EC:secp521r1', '05', 'p521');
    hsm.generate('web', 'EC:edwards25519', '06', 'ed25519');
    host = await UnlockedHost.start(hsm.env);
  });
  after(async () => {
    await host.process.close();
    hsm.remove();
  });

  const publicKey = (label: string): KeyObject =>
    createPublicKey({ format: 'der', type: 'spki', key: Buffer.from(host.key(label).spki) });
  const verifies = (label: string, hash: HashName, signature: Uint8Array, options: object): boolean =>
    verify(hash, message, { key: publicKey(label), ...options }, signature);

  for (const label of rsaKeys) {
    for (const hash of hashes) {
      test(`rsa-pkcs1 with ${hash} and ${label} verifies`, async () => {
        const signature = await host.sign(label, { mechanism: 'rsa-pkcs1', hash, data: digestOf(hash) });
        assert.ok(verifies(label, hash, signature, { padding: constants.RSA_PKCS1_PADDING }));
      });

      test(`rsa-pss with ${hash} and ${label} verifies with a salt as long as the hash`, async () => {
        const signature = await host.sign(label, { mechanism: 'rsa-pss', hash, data: digestOf(hash) });
        const options = { padding: constants.RSA_PKCS1_PSS_PADDING, saltLength: hashLength[hash] };
        assert.ok(verifies(label, hash, signature, options));
      });
    }
  }

  for (const saltLength of [0, 20, 222]) {
    test(`rsa-pss takes a salt of ${saltLength} bytes when told`, async () => {
      const params = { mechanism: 'rsa-pss', hash: 'sha256', data: digestOf('sha256'), saltLength } as const;
      const signature = await host.sign('rsa2048', params);
      const options = { padding: constants.RSA_PKCS1_PSS_PADDING, saltLength };
      assert.ok(verifies('rsa2048', 'sha256', signature, options));
    });
  }

  for (const saltLength of [223, -1, 1.5]) {
    test(`rsa-pss refuses a salt of ${saltLength} bytes`, async () => {
      const params = { mechanism: 'rsa-pss', hash: 'sha256', data: digestOf('sha256'), saltLength } as const;
      await assert.rejects(host.sign('rsa2048', params), { code: 'INVALID' });
    });
  }

  for (const label of ecKeys) {
    for (const hash of hashes) {
      test(`ecdsa with ${hash} and ${label} verifies as r||s`, async () => {
        const signature = await host.sign(label, { mechanism: 'ecdsa', hash, data: digestOf(hash) });
        assert.equal(signature.length, 2 * Math.ceil(host.key(label).bits / 8));
        assert.ok(verifies(label, hash, signature, { dsaEncoding: 'ieee-p1363' }));
      });
    }
  }

  for (const length of [0, 1, 130, 8192]) {
    test(`ed25519 signs a message of ${length} bytes`, async () => {
      const data = randomBytes(length);
      const signature = await host.sign('ed25519', { mechanism: 'ed25519', data });
      assert.ok(verify(null, data, publicKey('ed25519'), signature));
    });
  }

  const wrongDigests: [Mechanism, string, HashName, number][] = [
    ['ecdsa', 'p256', 'sha256', 0],
    ['ecdsa', 'p256', 'sha256', 31],
    ['ecdsa', 'p256', 'sha256', 33],
    ['ecdsa', 'p521', 'sha512', 48],
    ['rsa-pss', 'rsa2048', 'sha256', 0],
    ['rsa-pss', 'rsa2048', 'sha384', 32],
    ['rsa-pkcs1', 'rsa2048', 'sha512', 65],
    ['rsa-pkcs1', 'rsa2048', 'sha256', 8192],
  ];
  for (const [mechanism, label, hash, length] of wrongDigests) {
    test(`${mechanism} refuses ${length} bytes as a ${hash} digest`, async () => {
      const call = host.sign(label, { mechanism, hash, data: Buffer.alloc(length) });
      await assert.rejects(call, { code: 'INVALID', message: new RegExp(`not ${length}$`) });
    });
  }

  const wrongRequests: [string, string, object, string][] = [
    [
      'a hash that nobody knows',
      'p256',
      { mechanism: 'ecdsa', hash: 'md5', data: Buffer.alloc(16) },
      'INVALID',
    ],
    [
      'a hash named like a property',
      'p256',
      { mechanism: 'ecdsa', hash: 'toString', data: message },
      'INVALID',
    ],
    ['no hash', 'rsa2048', { mechanism: 'rsa-pss', data: digestOf('sha256') }, 'INVALID'],
    [
      'RSA with an EC key',
      'p256',
      { mechanism: 'rsa-pss', hash: 'sha256', data: digestOf('sha256') },
      'MECHANISM',
    ],
    [
      'ECDSA with an RSA key',
      'rsa2048',
      { mechanism: 'ecdsa', hash: 'sha256', data: digestOf('sha256') },
      'MECHANISM',
    ],
    ['Ed25519 with a P-256 key', 'p256', { mechanism: 'ed25519', data: message }, 'MECHANISM'],
    [
      'a decryption',
      'rsa2048',
      { mechanism: 'rsa-oaep', hash: 'sha256', data: digestOf('sha256') },
      'INVALID',
    ],
    ['a mechanism that does not exist', 'rsa2048', { mechanism: 'rsa-raw', data: message }, 'MECHANISM'],
  ];
  for (const [what, label, params, code] of wrongRequests) {
    test(`refuses ${what}`, async () => {
      await assert.rejects(host.sign(label, params as Parameters<typeof host.sign>[1]), { code });
    });
  }

  test('refuses a number that no key has', async () => {
    const params = { ref: 999, mechanism: 'ecdsa', hash: 'sha256', data: digestOf('sha256') } as const;
    await assert.rejects(host.process.call('sign', params), { code: 'NOT_FOUND' });
  });

  test('200 signatures at once over 4 sessions all verify, each for its own message', async () => {
    const labels = [...rsaKeys, ...ecKeys];
    const jobs = Array.from({ length: 200 }, async (_, index) => {
      const label = labels[index % labels.length] ?? '';
      const text = Buffer.from(`message ${index}`);
      const mechanism = label.startsWith('rsa') ? 'rsa-pss' : 'ecdsa';
      const signature = await host.sign(label, { mechanism, hash: 'sha256', data: digestOf('sha256', text) });
      const padding = constants.RSA_PKCS1_PSS_PADDING;
      const options =
        mechanism === 'ecdsa' ? { dsaEncoding: 'ieee-p1363' as const } : { padding, saltLength: 32 };
      return verify('sha256', text, { key: publicKey(label), ...options }, signature);
    });
    assert.deepEqual(new Set(await Promise.all(jobs)), new Set([true]));
  });
});
