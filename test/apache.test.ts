/** Apache in each of its forms serves TLS with keys that stay in a token: every handshake is signed by the agent. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { Agent } from './support/agent.js';
import { mpms, page, type Apache } from './support/apache.js';
import { auditOf } from './support/audit.js';
import { cleanupAfter } from './support/cleanup.js';
import { deploy, type Deployment, type Reference } from './support/deployment.js';
import { fetchPage, fingerprintOf, handshakes, type Target } from './support/handshakes.js';

/** What the client offers, which key must answer, and what both agree on. */
interface Profile {
  name: string;
  key: 'rsa' | 'ec';
  tls: NonNullable<Target['tls']>;
  session: string;
}

const tls13 = { minVersion: 'TLSv1.3', maxVersion: 'TLSv1.3' } as const;
const tls12 = { minVersion: 'TLSv1.2', maxVersion: 'TLSv1.2' } as const;
const profiles: readonly Profile[] = [
  {
    name: 'TLS 1.3 with an RSA key',
    key: 'rsa',
    tls: { ...tls13, sigalgs: 'rsa_pss_rsae_sha256' },
    session: 'TLSv1.3 TLS_AES_256_GCM_SHA384',
  },
  {
    name: 'TLS 1.3 with a P-256 key',
    key: 'ec',
    tls: { ...tls13, sigalgs: 'ecdsa_secp256r1_sha256' },
    session: 'TLSv1.3 TLS_AES_256_GCM_SHA384',
  },
  {
    name: 'TLS 1.2 ECDHE-RSA',
    key: 'rsa',
    tls: { ...tls12, ciphers: 'ECDHE-RSA-AES128-GCM-SHA256' },
    session: 'TLSv1.2 TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256',
  },
  {
    name: 'TLS 1.2 ECDHE-ECDSA',
    key: 'ec',
    tls: { ...tls12, ciphers: 'ECDHE-ECDSA-AES128-GCM-SHA256' },
    session: 'TLSv1.2 TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256',
  },
  {
    name: 'TLS 1.2 RSA key exchange',
    key: 'rsa',
    tls: { ...tls12, ciphers: 'AES128-GCM-SHA256' },
    session: 'TLSv1.2 TLS_RSA_WITH_AES_128_GCM_SHA256',
  },
];

const references: Record<Reference, string> = { uri: 'pkcs11: URIs', pem: 'PEM key references' };

for (const mpm of mpms) {
  for (const reference of ['uri', 'pem'] as const) {
    test(`Apache ${mpm} serves with ${references[reference]}`, async (t) => {
      const deployment = await deploy(cleanupAfter(t), {
        keys: [
          { label: 'rsa', type: 'rsa:2048' },
          { label: 'ec', type: 'EC:prime256v1' },
        ],
        spare: true,
      });
      const apache = await deployment.apache({ mpm, reference, keys: ['rsa', 'ec'] });
      for (const profile of profiles) {
        await t.test(`${profile.name}: 500 handshakes, half of them during graceful restarts`, async () => {
          await showProfile(deployment, apache, profile);
        });
      }
    });
  }
}

async function showProfile(
  { agent, authority, token }: Deployment,
  apache: Apache,
  profile: Profile,
): Promise<void> {
  const target = { port: apache.port, ca: authority.root, tls: profile.tls };
  const usedBefore = usesOf(agent);
  const { body } = await fetchPage(target);
  assert.equal(body, page);

  const counts = [await handshakes({ ...target, count: 250, concurrency: 8 })];
  for (let restart = 0; restart < 5; restart++) {
    const clients = handshakes({ ...target, count: 50, concurrency: 8 });
    await apache.graceful();
    counts.push(await clients);
  }
  assert.deepEqual(
    counts.flatMap(({ failures }) => failures),
    [],
  );
  assert.equal(
    counts.reduce((sum, { succeeded }) => sum + succeeded, 0),
    500,
  );
  // One use of the key for each handshake: none was resumed, none was signed by anything else.
  assert.equal(usesOf(agent) - usedBefore, 501);
  // The spare token's key of the same label never answered.
  const expected = `${profile.session} ${fingerprintOf(token.key(profile.key).certificateFile)}`;
  assert.deepEqual([...new Set(counts.flatMap(({ sessions }) => [...sessions]))], [expected]);
}

/** How often a key was used. */
function usesOf(agent: Agent): number {
  return auditOf(agent).filter(({ event, outcome }) => /^(sign|decrypt)$/.test(event) && outcome === 'ok')
    .length;
}
