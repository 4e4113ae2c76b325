/** Keys that are held to a purpose, in servers and clients as Debian ships them: TLS works, and nothing else is signed. */
import assert from 'node:assert/strict';
import { writeFileSync } from 'node:fs';
import path from 'node:path';
import { test } from 'node:test';
import { modes } from './servers/cells.js';
import { startBackend } from './servers/backend.js';
import { startCurls } from './servers/curl.js';
import { asRoot, deployFleet, kinds, users, type KindName } from './servers/fleet.js';
import { makeSite } from './servers/site.js';
import { auditOf } from './support/audit.js';
import { cleanupAfter, type Cleanup } from './support/cleanup.js';
import { mustRun } from './support/command.js';
import type { Deployment } from './support/deployment.js';
import { handshakes } from './support/handshakes.js';
import { prelude, type KeyFiles } from './support/node-scripts.js';

const keys = [
  { label: 'rsa', type: 'rsa:2048' },
  { label: 'ec', type: 'EC:prime256v1' },
] as const;
const labels = keys.map(({ label }) => label);

function deployFor(cleanup: Cleanup, purpose: string): Promise<Deployment> {
  const rules = [{ name: purpose, keys: 'pkcs11:', users: [...users, 'root'], purpose }];
  return deployFleet(cleanup, keys, () => ({ rules }));
}

/** What was asked of the keys, without repetitions. */
function outcomes({ agent }: Deployment): string[] {
  const uses = auditOf(agent).filter(({ event }) => event === 'sign' || event === 'decrypt');
  return [...new Set(uses.map(({ event, outcome }) => `${event} ${outcome}`))];
}

/** Every kind of Apache handshake: purpose.test.ts. */
const servers = [
  'nginx',
  'haproxy',
  'stunnel',
  'PostgreSQL',
  'openssl s_server',
] as const satisfies KindName[];

for (const name of servers) {
  test(`${name} serves with keys that are for tls-server`, asRoot, async (t) => {
    const cleanup = cleanupAfter(t);
    const deployment = await deployFor(cleanup, 'tls-server');
    const backendPort = await startBackend(cleanup);
    const { oneKey, dialogue, start } = kinds[name];
    for (const served of oneKey ? labels.map((label) => [label]) : [labels]) {
      const server = await start(await makeSite(cleanup, deployment, { keys: served, backendPort }));
      for (const label of served) {
        for (const { tls } of [modes['TLS 1.3'], modes['TLS 1.2 ECDHE']]) {
          const target = { port: server.port(label), ca: deployment.authority.root, tls, dialogue };
          const { succeeded, failures } = await handshakes({ ...target, count: 4, concurrency: 2 });
          assert.deepEqual({ succeeded, failures }, { succeeded: 4, failures: [] }, server.log());
        }
      }
      await server.stop();
    }
    assert.deepEqual(outcomes(deployment), ['sign ok']);
  });
}

/** Both versions and keys; then what somebody who took over the process would like to have signed. */
const nodeServer = `
  const sessions = [];
  for (const maxVersion of ['TLSv1.3', 'TLSv1.2'])
    for (const label of ['rsa', 'ec']) sessions.push((await serve(keys[label], { maxVersion })).slice(0, 7));
  try {
    crypto.sign('sha256', Buffer.from('anything'), keys.ec.key);
  } catch (error) {
    sessions.push(error.reason ?? error.message);
  }
  print(sessions);`;

test('Node serves with keys that are for tls-server, and has nothing else signed', asRoot, async (t) => {
  const deployment = await deployFor(cleanupAfter(t), 'tls-server');
  const { agent, authority, folder, token } = deployment;
  const configuration = path.join(folder, 'node.cnf');
  writeFileSync(configuration, await agent.mustKeyagent(['conf', 'node', deployment.uri('ec', 'private')]));
  const files: Record<string, KeyFiles> = {};
  for (const label of labels)
    files[label] = {
      reference: await deployment.referenceFile(label),
      certificate: token.key(label).certificateFile,
    };
  const text = prelude(files, authority.rootFile, authority.chainFile) + nodeServer;
  const args = [`--openssl-config=${configuration}`, '--input-type=module', '--eval', text];
  assert.deepEqual(JSON.parse((await mustRun(process.execPath, args)).stdout), [
    ...['TLSv1.3', 'TLSv1.3', 'TLSv1.2', 'TLSv1.2'],
    'DENIED',
  ]);
  assert.deepEqual(outcomes(deployment), ['sign ok', 'sign DENIED']);
});

test('curl shows a certificate whose key is for tls-client, by TLS 1.3 and not by 1.2', asRoot, async (t) => {
  const deployment = await deployFor(cleanupAfter(t), 'tls-client');
  for (const label of labels) assert.equal((await startCurls(deployment, label, '1.3', 8)).peers.length, 8);
  assert.deepEqual(outcomes(deployment), ['sign ok']);
  await assert.rejects(startCurls(deployment, 'ec', '1.2', 8));
  assert.deepEqual(outcomes(deployment), ['sign ok', 'sign DENIED']);
});
