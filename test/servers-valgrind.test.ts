/** Servers under valgrind, parents and children: through handshakes, a reload and the end. */
import assert from 'node:assert/strict';
import { chmodSync, mkdirSync, readdirSync, readFileSync } from 'node:fs';
import path from 'node:path';
import { test } from 'node:test';
import { startBackend } from './servers/backend.js';
import { asRoot, deployFleet, kindNames, kinds } from './servers/fleet.js';
import { makeSite } from './servers/site.js';
import { cleanupAfter } from './support/cleanup.js';
import { handshakes } from './support/handshakes.js';
import { waitFor } from './support/wait.js';

const keys = [{ label: 'www', type: 'EC:prime256v1' }] as const;

/** mod_ssl stirs whatever is on its stack into OpenSSL's random numbers, and all that comes of them counts as undefined. */
const trustStack = '--undef-value-errors=no';

for (const name of kindNames) {
  test(`valgrind finds nothing wrong in ${name}, and nothing of ours lost`, asRoot, async (t) => {
    const cleanup = cleanupAfter(t);
    const deployment = await deployFleet(cleanup, keys);
    const logs = path.join(deployment.folder, 'valgrind');
    mkdirSync(logs);
    chmodSync(logs, 0o777);
    const backendPort = await startBackend(cleanup);
    // Apache is started by a shell, and haproxy starts itself again.
    const options = [
      // Its files in /tmp go by pid: a child that finds one of another user's, left by a process that was killed, ends at once.
      '--vgdb=no',
      '--trace-children=yes',
      '--leak-check=full',
      '--show-leak-kinds=all',
      '--num-callers=40',
      // Our code is known by the paths of its files, also when the server has unloaded it before it ends.
      '--fullpath-after=',
      '--keep-debuginfo=yes',
      `--log-file=${logs}/%p`,
    ];
    const wrapper = ['valgrind', ...options, ...(name.startsWith('Apache') ? [trustStack] : [])];
    const { start, dialogue } = kinds[name];
    const server = await start(await makeSite(cleanup, deployment, { keys: ['www'], backendPort, wrapper }));
    const target = { port: server.port('www'), ca: deployment.authority.root, dialogue };
    const pids = new Set([server.pid]);
    const serve = async () => {
      const { succeeded, failures } = await handshakes({ ...target, count: 12, concurrency: 4 });
      server.mustRun();
      assert.deepEqual({ succeeded, failures }, { succeeded: 12, failures: [] });
      for (const child of server.children()) pids.add(child);
    };
    await serve();
    if (server.reloads) {
      await server.reload();
      await serve();
    }
    await server.stop();
    for (const pid of pids) {
      const report = path.join(logs, String(pid));
      // haproxy's master does not wait for its worker.
      await waitFor(
        `the report on ${String(pid)} is complete`,
        () => readFileSync(report, 'utf8').includes('ERROR SUMMARY'),
        60_000,
      );
    }
    const reports = readdirSync(logs).map((file) => readFileSync(path.join(logs, file), 'utf8'));
    const paragraphs = reports.flatMap((report) => report.split(/\n==\d+== \n/));
    // A signal ends it while it holds the key.
    if (name === 'openssl s_server') assert.ok(paragraphs.some((text) => ours.test(text)));
    const findings = paragraphs.filter(isFinding);
    assert.deepEqual(findings, []);
  });
}

/** glibc's loader reads whole words of its strings (Debian's valgrind has no rule for it without glibc's symbols). */
const loader = /\(\S*dl-load\.c:\d+\)/;

const ours = /\(\S*clients\/c\/\S*:\d+\)/;

/** A paragraph about a wrong access, or about memory that our code took and lost. */
function isFinding(paragraph: string): boolean {
  if (loader.test(paragraph)) return false;
  if (/Invalid (?:read|write|free)|uninitialised (?:value|bytes?)\b|Mismatched free|overlap/.test(paragraph))
    return true;
  return /definitely lost in|indirectly lost in/.test(paragraph) && ours.test(paragraph);
}
