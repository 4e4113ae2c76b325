/** What docs/servers/stunnel.md says of SIGHUP, held against a key file: the lost connections are not the token's. */
import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import path from 'node:path';
import { test } from 'node:test';
import { startBackend } from './servers/backend.js';
import { asRoot, deployFleet, kinds } from './servers/fleet.js';
import { underLoad } from './servers/load.js';
import { makeSite } from './servers/site.js';
import { cleanupAfter } from './support/cleanup.js';
import { mustRun } from './support/command.js';
import { connectionLost } from './support/handshakes.js';
import { makeKeyFile } from './support/softhsm.js';

const keys = [{ label: 'www', type: 'EC:prime256v1' }] as const;
/** Reloads of one round, and rounds: in the matrix three reloads lost two connections. */
const [reloads, rounds] = [20, 20];

test('stunnel resets connections at SIGHUP with a key file as well', asRoot, async (t) => {
  const cleanup = cleanupAfter(t);
  const deployment = await deployFleet(cleanup, keys);
  const { authority, folder } = deployment;
  const file = path.join(folder, 'file.key');
  const key = await makeKeyFile(file, 'EC:prime256v1');
  await mustRun('openssl', ['pkey', '-in', file, '-pubout', '-out', `${file}.pub`]);
  const certificate = await authority.certify('www', `${file}.pub`);
  const site = await makeSite(cleanup, deployment, {
    keys: ['www'],
    backendPort: await startBackend(cleanup),
    adjust(tree) {
      tree.write('/etc/keyagent/www.key', key);
      tree.write(
        '/etc/keyagent/www.pem',
        readFileSync(certificate, 'utf8') + readFileSync(authority.chainFile, 'utf8'),
      );
    },
  });
  const server = await kinds.stunnel.start(site);
  const failures: string[] = [];
  for (let round = 0; round < rounds && failures.length === 0; round++) {
    const target = { port: server.port('www'), ca: authority.root, dialogue: kinds.stunnel.dialogue };
    const count = await underLoad(target, async () => {
      for (let i = 0; i < reloads; i++) await server.reload();
    });
    failures.push(...count.failures);
  }
  t.diagnostic(`${String(failures.length)}: ${[...new Set(failures)].join(', ')}`);
  assert.ok(failures.length > 0, 'none was lost: what the matrix says of stunnel is not true any more');
  for (const failure of failures) assert.match(failure, connectionLost);
  await server.stop();
});
