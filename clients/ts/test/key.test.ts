import assert from 'node:assert/strict';
import { constants, createHash, publicEncrypt, randomBytes, verify } from 'node:crypto';
import { test, type TestContext } from 'node:test';
import { runInNewContext } from 'node:vm';
import { connect, type DecryptionAlgorithm, type Key, type SigningAlgorithm } from '@keyagent/client';
import { AgentError } from '@keyagent/protocol';
import { startAgent, type AgentPeer } from './agent-peer.js';
import { answerKey, describe, servedKeys } from './served-keys.js';

async function open(t: TestContext, uri: string): Promise<{ agent: AgentPeer; key: Key }> {
  const agent = await startAgent(t, answerKey);
  const client = await connect({ socket: agent.path });
  t.after(() => client.close());
  return { agent, key: await client.key(uri) };
}

const rsa = 'pkcs11:object=rsa';
const p256 = 'pkcs11:object=p256';
const ed = 'pkcs11:object=ed';
const pss = { padding: constants.RSA_PKCS1_PSS_PADDING, saltLength: constants.RSA_PSS_SALTLEN_DIGEST };

test('a key carries its public data', async (t) => {
  const { key } = await open(t, p256);
  assert.deepEqual(
    [key.uri, key.token, key.algorithm, key.bits, key.state],
    [p256, 'test', 'ec-p256', 256, 'verified'],
  );
  assert(servedKeys[p256]?.publicKey.equals(key.publicKey));
  assert.deepEqual([key.certificate, key.chain, key.mechanisms], [undefined, [], []]);
});

test('a signature verifies with the public key, for every kind of key', async (t) => {
  const message = randomBytes(146);
  const table = [
    [rsa, 'rsa-pss-sha256', 'sha256', pss],
    [rsa, 'rsa-pkcs1-sha512', 'sha512', {}],
    [p256, 'ecdsa-sha384', 'sha384', {}],
    [ed, 'ed25519', null, {}],
  ] as const;
  for (const [uri, alg, hash, how] of table) {
    const { key } = await open(t, uri);
    const signature = await key.sign(alg, message);
    assert(verify(hash, message, { key: key.publicKey, ...how }, signature), alg);
  }
});

test('format asks for r and s', async (t) => {
  const { key, agent } = await open(t, p256);
  const message = randomBytes(10);
  const signature = await key.sign('ecdsa-sha256', message, { format: 'p1363' });
  assert.equal(signature.length, 64);
  assert(verify('sha256', message, { key: key.publicKey, dsaEncoding: 'ieee-p1363' }, signature));
  assert.equal((agent.requests.at(-1)?.params as { format?: string }).format, 'p1363');
});

test('8192 bytes are sent whole; one more, and the hash is sent', async (t) => {
  const { key, agent } = await open(t, rsa);
  const [whole, long] = [randomBytes(8192), randomBytes(8193)];
  await key.sign('rsa-pss-sha384', whole);
  await key.sign('rsa-pss-sha384', long);
  const [first, second] = agent.requests.slice(-2).map(({ params }) => params as Record<string, unknown>);
  assert.deepEqual([first?.['message'], first?.['digest']], [whole, undefined]);
  const digest = createHash('sha384').update(long).digest();
  assert.deepEqual([second?.['message'], second?.['digest']], [undefined, digest]);
});

test('Ed25519 takes no more than 8192 bytes, and no digest, and asks nobody about it', async (t) => {
  const { key, agent } = await open(t, ed);
  await assert.rejects(key.sign('ed25519', Buffer.alloc(8193)), { code: 'TOO_LARGE' });
  await assert.rejects(key.sign('ed25519', { digest: Buffer.alloc(64) }), { code: 'INVALID' });
  assert.equal(agent.requests.length, 1);
});

test('a digest is sent as it is if its length is that of the hash', async (t) => {
  const { key, agent } = await open(t, p256);
  const digest = randomBytes(32);
  await key.sign('ecdsa-sha256', { digest });
  assert.deepEqual((agent.requests.at(-1)?.params as { digest?: unknown }).digest, digest);
  for (const length of [0, 31, 33, 48]) {
    await assert.rejects(key.sign('ecdsa-sha256', { digest: Buffer.alloc(length) }), { code: 'INVALID' });
  }
});

test('an algorithm that no such key has is refused here', async (t) => {
  const { key, agent } = await open(t, p256);
  for (const alg of ['rsa-pss-sha256', 'ed25519', 'ecdsa', 'toString', '', 'rsa-oaep-sha256']) {
    await assert.rejects(key.sign(alg as SigningAlgorithm, Buffer.of(1)), { code: 'MECHANISM' }, alg);
  }
  const signing = 'ecdsa-sha256' as string as DecryptionAlgorithm;
  await assert.rejects(key.decrypt(signing, Buffer.of(1)), { code: 'MECHANISM' });
  assert.equal(agent.requests.length, 1);
});

test('what is not bytes is refused here, and bytes of another realm are bytes', async (t) => {
  const { key, agent } = await open(t, p256);
  for (const data of ['text', {}, null, { digest: 'text' }, [1, 2], new ArrayBuffer(2)]) {
    await assert.rejects(key.sign('ecdsa-sha256', data as Uint8Array), { code: 'INVALID' });
  }
  assert.equal(agent.requests.length, 1);
  const foreign = runInNewContext('Uint8Array.of(1, 2, 3)') as Uint8Array;
  assert(!(foreign instanceof Uint8Array));
  const signature = await key.sign('ecdsa-sha256', foreign);
  assert(verify('sha256', Buffer.of(1, 2, 3), key.publicKey, signature));
});

test('mechanisms do not bind: the agent decides when it is asked', async (t) => {
  const { key } = await open(t, rsa);
  assert.deepEqual(key.mechanisms, []);
  assert.equal((await key.sign('rsa-pkcs1-sha256', Buffer.of(1))).length, 256);
});

test('decrypt opens what was encrypted to the public key', async (t) => {
  const { key } = await open(t, rsa);
  const plaintext = randomBytes(32);
  const ciphertext = publicEncrypt({ key: key.publicKey, oaepHash: 'sha256' }, plaintext);
  assert.deepEqual(await key.decrypt('rsa-oaep-sha256', ciphertext), plaintext);
  await assert.rejects(key.decrypt('rsa-oaep-sha1', ciphertext), { code: 'DECRYPT_FAILED' });
});

test('decrypt sends both TLS versions', async (t) => {
  const { key, agent } = await open(t, rsa);
  const premaster = await key.decrypt('rsa-pkcs1-tls', Buffer.alloc(256), {
    clientVersion: 0x303,
    negotiatedVersion: 0,
  });
  assert.equal(premaster.length, 48);
  const { client_version, negotiated_version } = agent.requests.at(-1)?.params as Record<string, unknown>;
  assert.deepEqual([client_version, negotiated_version], [0x303, 0]);
});

test("certificates are parsed, the key's own first", async (t) => {
  const served = servedKeys[ed];
  assert(served !== undefined);
  const certificates = [Buffer.from(ownCertificate, 'base64'), Buffer.from(issuerCertificate, 'base64')];
  const agent = await startAgent(t, () => ({ ...describe(ed, served), certificates }));
  const client = await connect({ socket: agent.path });
  t.after(() => client.close());
  const key = await client.key(ed);
  assert.deepEqual(
    key.chain.map(({ subject }) => subject),
    ['CN=www.example', 'CN=Example CA'],
  );
  assert.equal(key.certificate, key.chain[0]);
});

test("public data that cannot be read is the agent's breach", async (t) => {
  const served = servedKeys[ed];
  assert(served !== undefined);
  const good = describe(ed, served);
  for (const bad of [
    { ...good, spki: Buffer.from('3000', 'hex') },
    { ...good, certificates: [Buffer.from('3000', 'hex')] },
  ]) {
    const agent = await startAgent(t, () => bad);
    const client = await connect({ socket: agent.path });
    t.after(() => client.close());
    await assert.rejects(
      client.key(ed),
      (error) => error instanceof AgentError && error.code === 'MALFORMED',
    );
  }
});

const ownCertificate =
  'MIIBQjCB9aADAgECAhQbYklzRxqCe5rEbU17/NfEWmau/jAFBgMrZXAwFjEUMBIGA1UEAwwLd3d3LmV4YW1wbGUwIBcNMjYx' +
  'MTI0MDI1MzQ0WhgPMjEyNjEwMzEwMjUzNDRaMBYxFDASBgNVBAMMC3d3dy5leGFtcGxlMCowBQYDK2VwAyEAY+/YNTKdBpjn' +
  '1Gq/p0eniET4evE0aw18AIxBwv7UKBmjUzBRMB0GA1UdDgQWBBTh8/OG2FWN8PcGP5iULiwxSdL5CTAfBgNVHSMEGDAWgBTh' +
  '8/OG2FWN8PcGP5iULiwxSdL5CTAPBgNVHRMBAf8EBTADAQH/MAUGAytlcANBAJdboGsXpSoeKLulcmcuKox2VS4lUMTvCAJD' +
  'CTFZm74hbAY6pz2S+wdfTE7TkF7VkO+q/bEXKNdul2s1YXAXYwM=';
const issuerCertificate =
  'MIIBQDCB86ADAgECAhQjnC7QCOna4VhM54e9P3SympmW4zAFBgMrZXAwFTETMBEGA1UEAwwKRXhhbXBsZSBDQTAgFw0yNjEx' +
  'MjQwMjUzNDRaGA8yMTI2MTAzMTAyNTM0NFowFTETMBEGA1UEAwwKRXhhbXBsZSBDQTAqMAUGAytlcAMhAIQyn+kVWMAgwLC3' +
  'WTKYzEc0LmDQ+hFtSnn36ihyokEco1MwUTAdBgNVHQ4EFgQU+d3OFhMqmdqK1iTpGqRrQSQWbW4wHwYDVR0jBBgwFoAU+d3O' +
  'FhMqmdqK1iTpGqRrQSQWbW4wDwYDVR0TAQH/BAUwAwEB/zAFBgMrZXADQQAQYb2sQNyDGz6EsTRz1AMqPSWJwq4ifiSjBZ7m' +
  '9B4lLs2psl1lYkHoB+ChjquNHDe/zavLs+Bmw5LjfLPTg5wM';
