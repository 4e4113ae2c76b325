/** A server's key under purpose = "tls-server": every handshake of a real Apache still works, and nothing else is signed. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { serverUser } from './support/account.js';
import type { Apache } from './support/apache.js';
import { auditOf } from './support/audit.js';
import { cleanupAfter } from './support/cleanup.js';
import { deploy, type Deployment } from './support/deployment.js';
import { fetchPage, handshakes, type Target } from './support/handshakes.js';

type Tls = NonNullable<Target['tls']>;

const tls13 = { minVersion: 'TLSv1.3', maxVersion: 'TLSv1.3' } as const;
const tls12 = { minVersion: 'TLSv1.2', maxVersion: 'TLSv1.2' } as const;
const rsaEcdhe = { ...tls12, ciphers: 'ECDHE-RSA-AES128-GCM-SHA256' };
const handshakeKinds: Record<string, Tls> = {
  'TLS 1.3, RSA-PSS, SHA-256 transcript': {
    ...tls13,
    sigalgs: 'rsa_pss_rsae_sha256',
    ciphers: 'TLS_AES_128_GCM_SHA256',
  },
  'TLS 1.3, RSA-PSS, SHA-384 transcript': {
    ...tls13,
    sigalgs: 'rsa_pss_rsae_sha512',
    ciphers: 'TLS_AES_256_GCM_SHA384',
  },
  'TLS 1.3, ECDSA': { ...tls13, sigalgs: 'ecdsa_secp256r1_sha256' },
  'TLS 1.2, ECDHE-ECDSA': { ...tls12, ciphers: 'ECDHE-ECDSA-AES128-GCM-SHA256' },
  'TLS 1.2, ECDHE-RSA, PKCS#1 v1.5': { ...rsaEcdhe, sigalgs: 'RSA+SHA256' },
  'TLS 1.2, ECDHE-RSA, PSS': { ...rsaEcdhe, sigalgs: 'rsa_pss_rsae_sha256' },
  'TLS 1.2, X25519': { ...rsaEcdhe, ecdhCurve: 'X25519' },
  'TLS 1.2, X448': { ...rsaEcdhe, ecdhCurve: 'X448' },
  'TLS 1.2, P-256': { ...rsaEcdhe, ecdhCurve: 'P-256' },
  'TLS 1.2, P-384': { ...rsaEcdhe, ecdhCurve: 'P-384' },
  'TLS 1.2, P-521': { ...rsaEcdhe, ecdhCurve: 'P-521' },
  'TLS 1.2, DHE-RSA': { ...tls12, ciphers: 'DHE-RSA-AES128-GCM-SHA256' },
};
const rsaKeyExchange = { ...tls12, ciphers: 'AES128-GCM-SHA256' };

function deployWith(
  t: Parameters<typeof cleanupAfter>[0],
  rule: Record<string, unknown>,
): Promise<Deployment> {
  return deploy(cleanupAfter(t), {
    keys: [
      { label: 'rsa', type: 'rsa:2048' },
      { label: 'ec', type: 'EC:prime256v1' },
    ],
    agent: {
      rules: [{ name: 'web', keys: 'pkcs11:', users: [serverUser().name], purpose: 'tls-server', ...rule }],
    },
  });
}

async function serve(deployment: Deployment): Promise<{ apache: Apache; target: Target }> {
  const curves = 'SSLOpenSSLConfCmd Curves X25519:X448:P-256:P-384:P-521';
  const apache = await deployment.apache({
    mpm: 'event',
    reference: 'uri',
    keys: ['rsa', 'ec'],
    directives: [curves],
  });
  return { apache, target: { port: apache.port, ca: deployment.authority.root } };
}

test('Apache serves every kind of handshake with a key that is for tls-server', async (t) => {
  const deployment = await deployWith(t, {});
  const { target } = await serve(deployment);
  for (const [name, tls] of Object.entries(handshakeKinds)) {
    await t.test(name, async () => {
      const before = auditOf(deployment.agent).length;
      const { succeeded, failures } = await handshakes({ ...target, tls, count: 10, concurrency: 4 });
      assert.deepEqual({ succeeded, failures }, { succeeded: 10, failures: [] });
      const outcomes = auditOf(deployment.agent)
        .slice(before)
        .map(({ event, outcome }) => `${event} ${outcome}`);
      assert.deepEqual(outcomes, Array<string>(10).fill('sign ok'));
    });
  }
  await t.test('but not the RSA key exchange, which the rule does not name', async () => {
    await assert.rejects(fetchPage({ ...target, tls: rsaKeyExchange }));
    assert.deepEqual(auditOf(deployment.agent).at(-1)?.outcome, 'DENIED');
  });
});

test('Apache does the RSA key exchange where the rule names it', async (t) => {
  const deployment = await deployWith(t, { mechanisms: ['rsa-pss', 'rsa-pkcs1', 'ecdsa', 'rsa-pkcs1-tls'] });
  const { target } = await serve(deployment);
  const { succeeded, failures } = await handshakes({
    ...target,
    tls: rsaKeyExchange,
    count: 10,
    concurrency: 4,
  });
  assert.deepEqual({ succeeded, failures }, { succeeded: 10, failures: [] });
});

test('an exhausted rate answers BUSY, with a time, and no later rule takes over', async (t) => {
  const user = serverUser();
  const rule = { keys: 'pkcs11:', users: [user.name] };
  const { agent, ...deployment } = await deploy(cleanupAfter(t), {
    keys: [{ label: 'ec', type: 'EC:prime256v1' }],
    agent: {
      rules: [
        { ...rule, name: 'slow', rate: '3/h' },
        { ...rule, name: 'fast' },
      ],
    },
  });
  const uri = `pkcs11:token=${deployment.token.label};object=ec`;
  const as = { uid: user.uid, gid: user.gid };
  const results = [];
  for (let i = 0; i < 5; i++) {
    const arguments_ = ['--json', 'sign', '--key', uri, '--alg', 'ecdsa-sha256'];
    results.push(await agent.keyagent(arguments_, { input: 'x', ...as }));
  }
  assert.deepEqual(
    results.map(({ status }) => status),
    [0, 0, 0, 75, 75],
  );
  assert.match(results[3]?.stderr ?? '', /"code":"BUSY".*rate of rule .*slow.*try again in \d+ ms/);
  const signs = auditOf(agent).filter(({ event }) => event === 'sign');
  assert.deepEqual(
    signs.map(({ rule: name, outcome }) => `${String(name)} ${outcome}`),
    ['slow ok', 'slow ok', 'slow ok', 'slow BUSY', 'slow BUSY'],
  );
});
