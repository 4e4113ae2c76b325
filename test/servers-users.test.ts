/** Who uses the key in each server: the user of its unit, without more groups than that user has, haproxy in its chroot. */
import assert from 'node:assert/strict';
import { readFileSync, readlinkSync } from 'node:fs';
import { after, before, describe, test } from 'node:test';
import { startBackend } from './servers/backend.js';
import { asRoot, deployFleet, kindNames, kinds, type KindName } from './servers/fleet.js';
import { makeSite } from './servers/site.js';
import { account } from './support/account.js';
import { Cleanup } from './support/cleanup.js';
import type { Deployment } from './support/deployment.js';
import { fetchPage } from './support/handshakes.js';
import { auditOf } from './support/audit.js';

const keys = [{ label: 'www', type: 'EC:prime256v1' }] as const;

const others: Partial<Record<KindName, string>> = {
  haproxy: 'haproxy',
  stunnel: 'stunnel4',
  PostgreSQL: 'postgres',
};

describe('the process that signs runs as Debian has it', asRoot, () => {
  const cleanup = new Cleanup();
  let deployment: Deployment;
  let backendPort: number;
  before(async () => {
    deployment = await deployFleet(cleanup, keys);
    backendPort = await startBackend(cleanup);
  });
  after(() => cleanup.run());

  for (const name of kindNames) {
    const user = others[name] ?? 'www-data';
    test(`${name}: as ${user}`, async () => {
      const site = await makeSite(cleanup, deployment, { keys: ['www'], backendPort });
      const server = await kinds[name].start(site);
      const { dialogue } = kinds[name];
      await fetchPage({ port: server.port('www'), ca: deployment.authority.root, dialogue });
      const { uid, gid } = account(user);
      const signer = auditOf(deployment.agent)
        .filter(({ event }) => event === 'sign')
        .at(-1);
      assert.deepEqual([signer?.uid, signer?.gid, signer?.outcome], [uid, gid, 'ok']);
      if (name === 'haproxy') {
        assert.deepEqual(groupsOf(signer?.pid), []);
        assert.equal(readlinkSync(`/proc/${String(signer?.pid)}/root`), site.tree.path('/var/lib/haproxy'));
      }
      await server.stop();
    });
  }
});

/** Supplementary ones. */
function groupsOf(pid: number | undefined): string[] {
  const [, groups = ''] = /^Groups:(.*)$/m.exec(readFileSync(`/proc/${String(pid)}/status`, 'utf8')) ?? [];
  return groups.trim().split(' ').filter(Boolean);
}
