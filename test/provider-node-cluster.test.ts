/** An HTTPS server of two cluster workers with a key in the token: this Node and Node 24, as `keyagent conf node` has it. */
import assert from 'node:assert/strict';
import { writeFileSync } from 'node:fs';
import { userInfo } from 'node:os';
import path from 'node:path';
import { test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { auditOf } from './support/audit.js';
import { cleanupAfter } from './support/cleanup.js';
import { Daemon } from './support/daemon.js';
import { deploy } from './support/deployment.js';
import { fetchPage, handshakes } from './support/handshakes.js';
import { node24 } from './support/node24.js';
import { freePort } from './support/port.js';
import { waitFor } from './support/wait.js';

const program = fileURLToPath(new URL('support/cluster-process.js', import.meta.url));
const clients = { count: 40, concurrency: 8 };

for (const [name, find] of [
  ['this Node', () => Promise.resolve(process.execPath)],
  ['Node 24', node24],
] as const) {
  test(`two workers of ${name} serve, through a restart of the agent and until they are stopped`, async (t) => {
    const cleanup = cleanupAfter(t);
    const deployment = await deploy(cleanup, {
      keys: [{ label: 'www', type: 'EC:prime256v1' }],
      issuers: true,
      agent: { credential: true, rules: [{ keys: 'pkcs11:', users: [userInfo().username] }] },
    });
    const { agent, authority, folder, token } = deployment;
    const uri = deployment.uri('www', 'private');
    const [configuration, certificates] = ['node.cnf', 'www.pem'].map((file) => path.join(folder, file));
    writeFileSync(String(configuration), await agent.mustKeyagent(['conf', 'node', uri]));
    writeFileSync(String(certificates), await agent.mustKeyagent(['cert', '--chain', uri]));
    const port = await freePort();
    const server = new Daemon(cleanup, {
      command: await find(),
      args: [
        ...[`--openssl-config=${String(configuration)}`, program],
        ...[String(certificates), await deployment.referenceFile('www'), String(port)],
      ],
      logFile: path.join(folder, 'node.log'),
    });
    await waitFor('both workers listen', () => {
      server.mustRun();
      return server.log.includes('ready');
    });
    const target = { port, ca: authority.root };
    const workers = new Set<string>();
    await waitFor('both workers answer', async () => {
      workers.add((await fetchPage(target)).body);
      return workers.size === 2;
    });
    const { failures } = await handshakes({ ...target, ...clients });
    assert.deepEqual(failures, []);

    await agent.daemon.stop();
    await assert.rejects(fetchPage(target));
    await agent.start();
    assert.equal(await agent.settled(token.label), 'unlocked');
    assert.deepEqual((await handshakes({ ...target, ...clients })).failures, []);

    const signers = auditOf(agent).flatMap((each) => (each.event === 'sign' ? [String(each.pid)] : []));
    assert.deepEqual(new Set(signers), workers);
    await server.stop();
    assert.equal(await server.ended(), 0);
  });
}
