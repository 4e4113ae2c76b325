/** That no child was ended by a signal is read from the servers' logs: each does say so when it happens. */
import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';
import { startBackend } from './servers/backend.js';
import { asRoot, deployFleet, kinds } from './servers/fleet.js';
import { makeSite } from './servers/site.js';
import { Cleanup, cleanupAfter } from './support/cleanup.js';
import type { Deployment } from './support/deployment.js';
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
    });
  }
});
