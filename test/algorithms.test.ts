/** Every algorithm with every kind of key: signatures that OpenSSL verifies, ciphertexts that come back. */
import assert from 'node:assert/strict';
import { constants, publicEncrypt, randomBytes, verify, type VerifyKeyObjectInput } from 'node:crypto';
import { userInfo } from 'node:os';
import { after, before, test } from 'node:test';
import { connect, type Client, type Key, type SigningAlgorithm } from '@keyagent/client';
import { algorithms, type AlgorithmName, type HashName, type Mechanism } from '@keyagent/protocol';
import { Cleanup } from './support/cleanup.js';
import { deploy } from './support/deployment.js';
import type { KeySpec } from './support/softhsm.js';

const keys = [
  { label: 'rsa2048', type: 'rsa:2048' },
  { label: 'rsa3072', type: 'rsa:3072' },
  { label: 'rsa4096', type: 'rsa:4096' },
  { label: 'p256', type: 'EC:prime256v1' },
  { label: 'p384', type: 'EC:secp384r1' },
  { label: 'p521', type: 'EC:secp521r1' },
  { label: 'ed25519', type: 'EC:edwards25519' },
] as const satisfies readonly KeySpec[];
type Label = (typeof keys)[number]['label'];

const names = Object.keys(algorithms) as AlgorithmName[];
const signing = names.filter((name): name is SigningAlgorithm => algorithms[name].operation === 'sign');
const forRsa = signing.filter((name) => name.startsWith('rsa-'));
const forEc = signing.filter((name) => name.startsWith('ecdsa-'));

/** 1,000 signatures of each algorithm; the slow large keys do one each of what the 2048-bit key did in bulk. */
const plan: readonly [Label, readonly SigningAlgorithm[], number][] = [
  ['rsa2048', forRsa, 1000],
  ['rsa3072', forRsa, 25],
  ['rsa4096', forRsa, 25],
  ['p256', forEc, 1000],
  ['p384', forEc, 100],
  ['p521', forEc, 100],
  ['ed25519', ['ed25519'], 1000],
];

const cleanup = new Cleanup();
let client: Client;

before(async () => {
  const rules = [{ keys: 'pkcs11:', users: [userInfo().username], operations: ['sign', 'decrypt'] }];
  const { agent } = await deploy(cleanup, { keys, agent: { rules } });
  client = await connect({ socket: agent.socket });
  cleanup.after(() => client.close());
});
after(() => cleanup.run());

function keyOf(label: Label): Promise<Key> {
  return client.key(`pkcs11:token=web;object=${label}`);
}

function verifyInput(key: Key, mechanism: Mechanism): VerifyKeyObjectInput {
  if (mechanism !== 'rsa-pss') return { key: key.publicKey };
  const { RSA_PKCS1_PSS_PADDING: padding, RSA_PSS_SALTLEN_DIGEST: saltLength } = constants;
  return { key: key.publicKey, padding, saltLength };
}

async function signAndVerify(key: Key, alg: SigningAlgorithm): Promise<boolean> {
  const { mechanism, hash } = algorithms[alg] as { mechanism: Mechanism; hash?: HashName };
  const message = randomBytes(1 + Math.floor(Math.random() * 300));
  const signature = await key.sign(alg, message);
  return verify(hash ?? null, message, verifyInput(key, mechanism), signature);
}

for (const [label, names, count] of plan) {
  for (const alg of names) {
    test(`${String(count)} signatures of ${label} with ${alg} are verified by OpenSSL`, async () => {
      const key = await keyOf(label);
      const batch = 16;
      for (let done = 0; done < count; done += batch) {
        const size = Math.min(batch, count - done);
        const verdicts = await Promise.all(Array.from({ length: size }, () => signAndVerify(key, alg)));
        assert.ok(verdicts.every(Boolean));
      }
    });
  }
}

test('every algorithm that is not for a key is refused with MECHANISM', async () => {
  for (const { label } of keys) {
    const key = await keyOf(label);
    const fitting = plan.find(([name]) => name === label)?.[1] ?? [];
    for (const alg of signing.filter((name) => !fitting.includes(name))) {
      await assert.rejects(key.sign(alg, Buffer.from('m')), { code: 'MECHANISM' }, `${label} ${alg}`);
    }
  }
});

test("a digest whose length is not its hash's is refused, whatever the key", async () => {
  const key = await keyOf('p256');
  for (const length of [0, 1, 20, 31, 33, 48, 64]) {
    const digest = new Uint8Array(length);
    await assert.rejects(key.sign('ecdsa-sha256', { digest }), { code: 'INVALID' }, String(length));
  }
  assert.ok((await key.sign('ecdsa-sha256', { digest: new Uint8Array(32) })).length > 0);
});

for (const hash of ['sha1', 'sha256', 'sha384', 'sha512'] as const) {
  test(`RSA-OAEP with ${hash} brings back what OpenSSL encrypted`, async () => {
    for (const label of ['rsa2048', 'rsa4096'] as const) {
      const key = await keyOf(label);
      for (let i = 0; i < 20; i++) {
        const plaintext = randomBytes(i);
        const input = { key: key.publicKey, padding: constants.RSA_PKCS1_OAEP_PADDING, oaepHash: hash };
        const ciphertext = publicEncrypt(input, plaintext);
        assert.deepEqual(Buffer.from(await key.decrypt(`rsa-oaep-${hash}`, ciphertext)), plaintext);
        ciphertext[20] = (ciphertext[20] ?? 0) ^ 1;
        await assert.rejects(key.decrypt(`rsa-oaep-${hash}`, ciphertext), { code: 'DECRYPT_FAILED' });
      }
    }
  });
}
