/** That no child was ended by a signal is read from the servers' logs: each does say so when it happens, and serves on. */
import assert from 'node:assert/strict';
import { constants } from 'node:os';
import { after, before, describe, test } from 'node:test';
import { startBackend } from './servers/backend.js';
import { asRoot, deployFleet, kinds } from './servers/fleet.js';
import { makeSite } from './servers/site.js';
import { Cleanup, cleanupAfter } from './support/cleanup.js';
import type { Deployment } from './support/deployment.js';
import { fetchPage } from './support/handshakes.js';
import { waitFor } from './support/wait.js';

describe('a child that a signal ends', asRoot, () => {
  const cleanup = new Cleanup();
  let deployment: Deployment;
  before(async () => {
    deployment = await deployFleet(cleanup, [{ label: 'www', type: 'EC:prime256v1' }]);
  });
  after(() => cleanup.run());

  for (const name of [
    'Apache event',
    'Apache worker',
    'Apache prefork',
    'nginx',
    'haproxy',
    'PostgreSQL',
  ] as const) {
    test(`is in the log of ${name}`, async (t) => {
      const own = cleanupAfter(t);
      const backendPort = await startBackend(own);
      const server = await kinds[name].start(await makeSite(own, deployment, { keys: ['www'], backendPort }));
      const child = await waitFor('there are children', () => server.children()[0]);
      assert.deepEqual(server.crashes(), []);
      process.kill(child, 'SIGSEGV');
      await waitFor('the log tells of it', () => server.crashes().length > 0);
      // haproxy's master ends with its worker, and leaves the new start to its unit.
      if (name === 'haproxy') return assert.equal(await server.ended(), 128 + constants.signals.SIGSEGV);
      const target = {
        port: server.port('www'),
        ca: deployment.authority.root,
        dialogue: kinds[name].dialogue,
      };
      await waitFor('it serves again', () => fetchPage(target).catch(() => undefined));
      await server.stop();
    });
  }
});
