/** nginx's master and workers, and openssl s_server, under valgrind: through handshakes, a reload and the end. */
import assert from 'node:assert/strict';
import { mkdirSync, readdirSync, readFileSync, chmodSync } from 'node:fs';
import path from 'node:path';
import { test } from 'node:test';
import { asRoot, deployFleet } from './servers/fleet.js';
import { startNginx } from './servers/nginx.js';
import { startOpensslServer } from './servers/s-server.js';
import type { Server } from './servers/server.js';
import { makeSite, type Site } from './servers/site.js';
import { cleanupAfter } from './support/cleanup.js';
import { handshakes } from './support/handshakes.js';

const keys = [{ label: 'www', type: 'EC:prime256v1' }] as const;

const starts: Record<string, (site: Site, wrapper: readonly string[]) => Promise<Server>> = {
  nginx: startNginx,
  'openssl s_server': startOpensslServer,
};

for (const [name, start] of Object.entries(starts)) {
  test(`valgrind finds nothing wrong in ${name}, and nothing of ours lost`, asRoot, async (t) => {
    const cleanup = cleanupAfter(t);
    const deployment = await deployFleet(cleanup, keys);
    const logs = path.join(deployment.folder, 'valgrind');
    mkdirSync(logs);
    chmodSync(logs, 0o777);
    const wrapper = ['valgrind', '--leak-check=full', '--num-callers=40', `--log-file=${logs}/%p`];
    const server = await start(await makeSite(cleanup, deployment, { keys: ['www'] }), wrapper);
    const target = { port: server.port('www'), ca: deployment.authority.root };
    const serve = async () => {
      const { succeeded, failures } = await handshakes({ ...target, count: 12, concurrency: 4 });
      assert.deepEqual({ succeeded, failures }, { succeeded: 12, failures: [] });
    };
    await serve();
    if (server.reloads) {
      await server.reload();
      await serve();
    }
    await server.stop();
    const reports = readdirSync(logs).map((file) => readFileSync(path.join(logs, file), 'utf8'));
    // nginx: the master, two generations of workers, what valgrind forks beside; s_server: itself.
    assert.ok(reports.length >= (server.reloads ? 3 : 1), `${String(reports.length)} reports`);
    const findings = reports.flatMap((report) => report.split(/\n==\d+== \n/)).filter(isFinding);
    assert.deepEqual(findings, []);
  });
}

/** glibc's loader reads whole words of its strings (Debian's valgrind has no rule for it without glibc's symbols). */
const loader = /\(dl-load\.c:\d+\)/;

/** A paragraph about a wrong access, or about memory that our code took and lost. */
function isFinding(paragraph: string): boolean {
  if (loader.test(paragraph)) return false;
  if (/Invalid (?:read|write|free)|uninitialised|Mismatched free|overlap/.test(paragraph)) return true;
  return /definitely lost in|indirectly lost in/.test(paragraph) && paragraph.includes('keyagent');
}
