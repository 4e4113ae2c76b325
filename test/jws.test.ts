/** JWS made with keys of a token, judged by jose. */
import assert from 'node:assert/strict';
import { createHash, X509Certificate } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { userInfo } from 'node:os';
import { after, before, test } from 'node:test';
import {
  connect,
  JwsSigner,
  type Client,
  type JwsAlgorithm,
  type JwsHeader,
  type Key,
} from '@keyagent/client';
import {
  compactVerify,
  createLocalJWKSet,
  decodeProtectedHeader,
  exportJWK,
  importX509,
  jwtVerify,
} from 'jose';
import { Cleanup } from './support/cleanup.js';
import { deploy, type Deployment } from './support/deployment.js';
import type { KeySpec } from './support/softhsm.js';

const keys = [
  { label: 'rsa', type: 'rsa:2048' },
  { label: 'p256', type: 'EC:prime256v1' },
  { label: 'p384', type: 'EC:secp384r1' },
  { label: 'p521', type: 'EC:secp521r1' },
  { label: 'ed25519', type: 'EC:edwards25519' },
] as const satisfies readonly KeySpec[];
type Label = (typeof keys)[number]['label'];

const algorithmsOf: Record<Label, readonly JwsAlgorithm[]> = {
  rsa: ['RS256', 'RS384', 'RS512', 'PS256', 'PS384', 'PS512'],
  p256: ['ES256'],
  p384: ['ES384'],
  p521: ['ES512'],
  ed25519: ['EdDSA'],
};
const every = Object.values(algorithmsOf).flat();

const cleanup = new Cleanup();
let client: Client;
let deployment: Deployment;

before(async () => {
  const rules = [{ keys: 'pkcs11:', users: [userInfo().username], operations: ['sign'] }];
  deployment = await deploy(cleanup, { keys, agent: { rules } });
  client = await connect({ socket: deployment.agent.socket });
  cleanup.after(() => client.close());
});
after(() => cleanup.run());

function keyOf(label: Label): Promise<Key> {
  return client.key(`pkcs11:token=web;object=${label}`);
}

for (const [label, names] of Object.entries(algorithmsOf) as [Label, readonly JwsAlgorithm[]][]) {
  for (const alg of names) {
    test(`jose verifies ${alg} by the ${label} key, and refuses it once a bit of it was changed`, async () => {
      const key = await keyOf(label);
      const signer = new JwsSigner(key, { alg, typ: 'JOSE' });
      const jws = await signer.sign('payload: ü');
      const { payload, protectedHeader } = await compactVerify(jws, key.publicKey, { algorithms: [alg] });
      assert.equal(Buffer.from(payload).toString(), 'payload: ü');
      assert.deepEqual(protectedHeader, { alg, typ: 'JOSE' });

      const [header = '', , signature = ''] = jws.split('.');
      const forged = `${header}.${Buffer.from('payload: u').toString('base64url')}.${signature}`;
      await assert.rejects(compactVerify(forged, key.publicKey), {
        code: 'ERR_JWS_SIGNATURE_VERIFICATION_FAILED',
      });
    });
  }

  test(`no other algorithm is one for the ${label} key`, async () => {
    const key = await keyOf(label);
    for (const alg of every.filter((name) => !names.includes(name))) {
      assert.throws(() => new JwsSigner(key, { alg }), { code: 'MECHANISM' }, alg);
    }
    for (const alg of ['none', 'HS256', 'ES256K', 'toString', '']) {
      assert.throws(() => new JwsSigner(key, { alg: alg as JwsAlgorithm }), { code: 'MECHANISM' }, alg);
    }
  });
}

test('200 signatures of each curve have the length that JOSE has, small r and s included', async () => {
  for (const [label, alg, length] of [
    ['p256', 'ES256', 64],
    ['p384', 'ES384', 96],
    ['p521', 'ES512', 132],
  ] as const) {
    const key = await keyOf(label);
    const signer = new JwsSigner(key, { alg });
    const tokens = await Promise.all(Array.from({ length: 200 }, (_, i) => signer.sign(`payload ${i}`)));
    for (const jws of tokens) {
      assert.equal(Buffer.from(jws.split('.')[2] ?? '', 'base64url').length, length);
      await compactVerify(jws, key.publicKey);
    }
  }
});

test('a JWT is found by kid in a key set, and its claims are checked', async () => {
  const key = await keyOf('p256');
  const jwks = createLocalJWKSet({
    keys: [{ ...(await exportJWK(key.publicKey)), kid: 'web-1', alg: 'ES256' }],
  });
  const signer = new JwsSigner(key, { alg: 'ES256', typ: 'JWT', kid: 'web-1' });
  const jwt = await signer.sign(
    JSON.stringify({ iss: 'https://example.com', sub: 'alice', exp: 4102444800 }),
  );
  const { payload } = await jwtVerify(jwt, jwks, { issuer: 'https://example.com', typ: 'JWT' });
  assert.equal(payload.sub, 'alice');
  const stranger = await new JwsSigner(key, { alg: 'ES256', kid: 'web-2' }).sign('{}');
  await assert.rejects(jwtVerify(stranger, jwks), { code: 'ERR_JWKS_NO_MATCHING_KEY' });
});

test('x5c carries the certificate, x5t#S256 its thumbprint, and the signature verifies with it', async () => {
  const key = await keyOf('rsa');
  const jws = await new JwsSigner(key, { alg: 'PS256', x5c: true, 'x5t#S256': true }).sign(Buffer.of(0, 255));
  const header = decodeProtectedHeader(jws);
  const expected = new X509Certificate(readFileSync(deployment.token.key('rsa').certificateFile));
  const [own = ''] = header.x5c ?? [];
  assert.equal(own, expected.raw.toString('base64'));
  assert.equal(header['x5t#S256'], createHash('sha256').update(expected.raw).digest('base64url'));
  const certificate = new X509Certificate(Buffer.from(own, 'base64'));
  const { payload } = await compactVerify(jws, await importX509(certificate.toString(), 'PS256'));
  assert.deepEqual(Buffer.from(payload), Buffer.of(0, 255));
});

test('parameters of no meaning here go into the header as they are, false ones do not', async () => {
  const header = { alg: 'EdDSA', x5u: 'https://example.com/x', 'urn:example': [1], x5c: false } as const;
  const jws = await new JwsSigner(await keyOf('ed25519'), header).sign('');
  assert.deepEqual(decodeProtectedHeader(jws), {
    alg: 'EdDSA',
    x5u: 'https://example.com/x',
    'urn:example': [1],
  });
});

test('a header that would not mean what it says is refused', async () => {
  const key = await keyOf('p256');
  const cyclic: Record<string, unknown> = {};
  cyclic['self'] = cyclic;
  for (const extra of [{ kid: 7 }, { typ: null }, { crit: ['b64'] }, { b64: false }, { n: 1n }, cyclic]) {
    const header = { alg: 'ES256', ...extra } as unknown as JwsHeader;
    assert.throws(() => new JwsSigner(key, header), { code: 'INVALID' }, Object.keys(extra).join());
  }
});

test('a payload over 8 KiB is hashed for all but EdDSA, which is TOO_LARGE', async () => {
  const payload = Buffer.alloc(20_000, 1);
  for (const [label, alg] of [
    ['rsa', 'RS512'],
    ['p384', 'ES384'],
  ] as const) {
    const key = await keyOf(label);
    await compactVerify(await new JwsSigner(key, { alg }).sign(payload), key.publicKey);
  }
  const signer = new JwsSigner(await keyOf('ed25519'), { alg: 'EdDSA' });
  await assert.rejects(signer.sign(payload), { code: 'TOO_LARGE' });
  await assert.rejects(signer.sign({ sub: 'alice' } as unknown as string), { code: 'INVALID' });
});

test('a locked token signs no JWS', async () => {
  const { agent } = deployment;
  const signer = new JwsSigner(await keyOf('p256'), { alg: 'ES256' });
  await agent.mustKeyagent(['lock']);
  await assert.rejects(signer.sign('payload'), { code: 'LOCKED' });
  await agent.unlock();
  await signer.sign('payload');
});
