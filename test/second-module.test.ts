/**
 * Another maker's module, behind the same agent: tpm2-pkcs11 on a TPM in software. It lists no PSS, has hardly any
 * state flags, a serial of zeroes, and keys that must be loaded before they are used.
 */
import assert from 'node:assert/strict';
import { constants, createPublicKey, publicEncrypt, randomBytes, verify, type KeyObject } from 'node:crypto';
import { after, before, test } from 'node:test';
import { connectCaller, type AlgorithmName, type Caller } from '@keyagent/protocol';
import { startAgent, type Agent } from './support/agent.js';
import { Cleanup } from './support/cleanup.js';
import { childrenOf } from './support/proc.js';
import { scratchFolder } from './support/scratch.js';
import { Token, type KeySpec } from './support/softhsm.js';
import { Tpm, tpmModule } from './support/tpm.js';

const keys = [
  { label: 'rsa', type: 'rsa:2048' },
  { label: 'p256', type: 'EC:prime256v1' },
  { label: 'p384', type: 'EC:secp384r1' },
  { label: 'strict', type: 'rsa:2048', alwaysAuthenticate: true },
] as const satisfies readonly KeySpec[];
type Label = (typeof keys)[number]['label'];
const pin = '7412-pin';
const message = Buffer.from('message');

const cleanup = new Cleanup();
let agent: Agent;
let caller: Caller;
let tpm: Tpm;

before(async () => {
  const folder = scratchFolder(cleanup);
  tpm = await Tpm.start(cleanup, folder);
  await tpm.makeToken('web', keys, pin);
  const store = { folder: tpm.folder, env: { ...tpm.env, KEYAGENT_TEST_REAL_MODULE: tpmModule } };
  const rules = [{ keys: 'pkcs11:', users: [process.getuid?.() ?? 0] }];
  agent = await startAgent(cleanup, {
    folder,
    hsm: store,
    tokens: [new Token('web', pin)],
    rules,
    counted: true,
  });
  assert.equal(await agent.settled('web'), 'locked');
  caller = await connectCaller(agent.socket);
  cleanup.after(() => caller.close());
});
after(() => cleanup.run());

const uriOf = (label: Label): string => `pkcs11:token=web;object=${label}`;

async function publicKeyOf(label: Label): Promise<KeyObject> {
  const { spki } = await caller.call('key', { uri: uriOf(label) });
  return createPublicKey({ key: Buffer.from(spki), format: 'der', type: 'spki' });
}

async function sign(label: Label, alg: AlgorithmName): Promise<Uint8Array> {
  return (await caller.call('sign', { uri: uriOf(label), alg, message })).signature;
}

async function decrypt(alg: AlgorithmName, ciphertext: Uint8Array, versions = {}): Promise<Buffer> {
  const { plaintext } = await caller.call('decrypt', { uri: uriOf('rsa'), alg, ciphertext, ...versions });
  return Buffer.from(plaintext);
}

test('a wrong PIN costs one login, and the right one unlocks', async () => {
  const before = agent.calls('C_Login');
  const { status, stderr } = await agent.keyagent(['unlock', '--stdin'], { input: 'wrong-pin\n' });
  assert.equal(status, 77);
  assert.match(stderr, /the token refused the PIN/);
  assert.equal(await agent.tokenState('web'), 'locked');
  assert.equal(agent.calls('C_Login'), before + 1);
  await assert.rejects(sign('p256', 'ecdsa-sha256'), { code: 'LOCKED' });
  await agent.unlock();
  assert.equal(agent.calls('C_Login'), before + 2);
});

test('every key is listed and verified, with the public key that the token shows', async () => {
  const { keys: listed } = await caller.call('keys', {});
  assert.deepEqual(
    listed.map(({ uri, algorithm, bits, state, always_authenticate: always = false }) => [
      /object=(\w+)/.exec(uri)?.[1],
      algorithm,
      bits,
      state,
      always,
    ]),
    [
      ['p256', 'ec-p256', 256, 'verified', false],
      ['p384', 'ec-p384', 384, 'verified', false],
      ['rsa', 'rsa', 2048, 'verified', false],
      ['strict', 'rsa', 2048, 'verified', true],
    ],
  );
  const { spki, mechanisms, completed } = await caller.call('key', { uri: uriOf('rsa') });
  assert.deepEqual(Buffer.from(spki), await tpm.publicKey('web', 'rsa'));
  assert.deepEqual(mechanisms, ['rsa-pkcs1', 'rsa-pss', 'rsa-oaep', 'rsa-pkcs1-tls']);
  assert.ok(completed.includes('rsa-pss'), 'what the module lacks is completed in the host');
});

test('its signatures are good to OpenSSL: PKCS #1 v1.5, PSS and ECDSA', async () => {
  const rsa = await publicKeyOf('rsa');
  const pss = {
    key: rsa,
    padding: constants.RSA_PKCS1_PSS_PADDING,
    saltLength: constants.RSA_PSS_SALTLEN_DIGEST,
  };
  for (const hash of ['sha256', 'sha384', 'sha512'] as const) {
    assert.ok(verify(hash, message, rsa, await sign('rsa', `rsa-pkcs1-${hash}`)), `pkcs1 ${hash}`);
    assert.ok(verify(hash, message, pss, await sign('rsa', `rsa-pss-${hash}`)), `pss ${hash}`);
    for (const label of ['p256', 'p384'] as const) {
      const signature = await sign(label, `ecdsa-${hash}`);
      assert.ok(verify(hash, message, await publicKeyOf(label), signature), `${label} ${hash}`);
      assert.ok(!verify(hash, Buffer.from('another'), await publicKeyOf(label), signature));
    }
  }
});

test('many signatures at once are all good', async () => {
  const p256 = await publicKeyOf('p256');
  const signatures = await Promise.all(Array.from({ length: 40 }, () => sign('p256', 'ecdsa-sha256')));
  for (const signature of signatures) assert.ok(verify('sha256', message, p256, signature));
});

test('it decrypts OAEP with every hash, says no to what does not decrypt, and has one answer for TLS', async () => {
  const key = await publicKeyOf('rsa');
  const secret = randomBytes(48);
  for (const oaepHash of ['sha1', 'sha256', 'sha384', 'sha512'] as const) {
    const ciphertext = publicEncrypt({ key, oaepHash, padding: constants.RSA_PKCS1_OAEP_PADDING }, secret);
    assert.deepEqual(await decrypt(`rsa-oaep-${oaepHash}`, ciphertext), secret, oaepHash);
  }
  const bad = publicEncrypt({ key, padding: constants.RSA_PKCS1_PADDING }, secret);
  await assert.rejects(decrypt('rsa-oaep-sha256', bad), { code: 'DECRYPT_FAILED' });

  const versions = { client_version: 0x0303, negotiated_version: 0x0303 };
  secret.writeUInt16BE(0x0303);
  const premaster = publicEncrypt({ key, padding: constants.RSA_PKCS1_PADDING }, secret);
  assert.deepEqual(await decrypt('rsa-pkcs1-tls', premaster, versions), secret);
  const wrong = await decrypt('rsa-pkcs1-tls', publicEncrypt({ key, oaepHash: 'sha1' }, secret), versions);
  assert.equal(wrong.length, 48);
  assert.notDeepEqual(wrong, secret);
});

test('a key that asks for the PIN at every use gets it', async () => {
  const before = agent.calls('C_Login');
  assert.ok(verify('sha256', message, await publicKeyOf('strict'), await sign('strict', 'rsa-pkcs1-sha256')));
  assert.equal(agent.calls('C_Login'), before + 1);
});

test('lock ends the login, a host that dies is logged in again without hands', async () => {
  await agent.mustKeyagent(['lock']);
  await assert.rejects(sign('rsa', 'rsa-pkcs1-sha256'), { code: 'LOCKED' });
  await agent.unlock();
  for (const host of childrenOf(agent.daemon.pid)) process.kill(host, 'SIGKILL');
  // Held until the new host is logged in.
  assert.ok(verify('sha256', message, await publicKeyOf('p256'), await sign('p256', 'ecdsa-sha256')));
});
