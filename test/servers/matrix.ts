/**
 * Every server with every kind of key and handshake, started from Debian's configuration and from what `keyagent conf`
 * prints, while clients connect, the server reloads and the agent restarts. Run by test/servers-matrix-*.test.ts.
 */
import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import path from 'node:path';
import { after, before, test } from 'node:test';
import { startBackend } from './backend.js';
import {
  agentRestarts,
  demandClient,
  keyNames,
  keys,
  knownFailures,
  load,
  modes,
  modesOf,
  mutualKey,
  mutualModeNames,
  mutualModes,
  reloads,
  type Cell,
  type Mode,
} from './cells.js';
import { startCurls } from './curl.js';
import { asRoot, deployFleet, kinds, type KindName } from './fleet.js';
import { underLoad } from './load.js';
import { record, rowOf, type Shaken, type Tally } from './matrix-table.js';
import type { Server } from './server.js';
import { makeSite } from './site.js';
import { Cleanup } from '../support/cleanup.js';
import { mustRun } from '../support/command.js';
import type { Deployment } from '../support/deployment.js';
import { fingerprintOf, handshakes, type Target } from '../support/handshakes.js';
import { makeKeyFile } from '../support/softhsm.js';

const cleanup = new Cleanup();
const results: (Cell & Tally)[] = [];
const shaken: Shaken[] = [];
let deployment: Deployment;
let backendPort: number;
let client: { cert: string; key: string };

/** @param group   names the part of the table that these servers make */
export function runMatrix(group: string, names: readonly KindName[]): void {
  before(async () => {
    if (asRoot.skip !== false) return;
    const specs = [...keyNames.map((name) => keys[name]), mutualKey];
    deployment = await deployFleet(cleanup, specs);
    backendPort = await startBackend(cleanup);
    client = await makeClient(deployment);
  });

  after(async () => {
    await cleanup.run();
    record(group, { cells: results, shaken });
  });

  for (const name of names) {
    test(
      `${name} serves with every key and handshake, through reloads and a restart of the agent`,
      asRoot,
      async () => {
        const labels = [...new Set(modesOf(name).map(({ key }) => keys[key].label)), mutualKey.label];
        for (const served of kinds[name].oneKey ? labels.map((label) => [label]) : [labels]) {
          const server = await startWith(name, served);
          await showCells(name, server, served);
          await shake(name, server, served[0] ?? '');
          await server.stop();
          assert.deepEqual(server.crashes(), []);
        }
      },
    );
  }
}

/** Beside runMatrix: it needs the same deployment. */
export function runCurl(): void {
  test('curl shows a certificate whose key is in the token', asRoot, async () => {
    for (const key of ['RSA-2048', 'P-256'] as const) {
      for (const mode of mutualModeNames) {
        const tls = mode === 'TLS 1.3 mutual' ? '1.3' : '1.2';
        const { tried, peers } = await startCurls(deployment, keys[key].label, tls, load.count);
        results.push({ server: 'curl', key, mode, tried, failed: tried - peers.length });
        assert.deepEqual(
          [...new Set(peers)],
          [fingerprintOf(deployment.token.key(keys[key].label).certificateFile)],
        );
        assert.equal(peers.length, load.count);
      }
    }
  });
}

/** A client's certificate with its issuer, and its key, both PEM. */
async function makeClient({ authority, folder }: Deployment): Promise<{ cert: string; key: string }> {
  const file = path.join(folder, 'client.key');
  const key = await makeKeyFile(file, 'EC:prime256v1');
  await mustRun('openssl', ['pkey', '-in', file, '-pubout', '-out', `${file}.pub`]);
  const certificate = await authority.certify('client', `${file}.pub`);
  return { cert: readFileSync(certificate, 'utf8') + readFileSync(authority.chainFile, 'utf8'), key };
}

async function startWith(name: KindName, labels: readonly string[]): Promise<Server> {
  const { rootFile } = deployment.authority;
  const site = await makeSite(cleanup, deployment, {
    keys: labels,
    backendPort,
    extra(label) {
      if (label === mutualKey.label) return demandClient(name, rootFile);
      // Debian's haproxy offers no RSA key exchange; docs/servers/haproxy.md says how to.
      return name === 'haproxy' && label.startsWith('rsa')
        ? ['ciphers', 'AES128-GCM-SHA256:ECDHE-RSA-AES128-GCM-SHA256']
        : [];
    },
  });
  return kinds[name].start(site);
}

async function showCells(name: KindName, server: Server, served: readonly string[]): Promise<void> {
  for (const { key, mode } of modesOf(name)) {
    if (served.includes(keys[key].label))
      await showCell({ server: name, key, mode }, server, keys[key].label, modes[mode]);
  }
  if (!served.includes(mutualKey.label)) return;
  const target = {
    port: server.port(mutualKey.label),
    ca: deployment.authority.root,
    dialogue: kinds[name].dialogue,
  };
  for (const mode of mutualModeNames) {
    const { tls, session } = mutualModes[mode];
    const withClient = { tls: { ...tls, ...client }, session };
    await showCell({ server: name, key: 'P-256', mode }, server, mutualKey.label, withClient);
    const stranger = await handshakes({ ...target, tls, count: 1, concurrency: 1 });
    assert.equal(stranger.succeeded, 0, `${name} serves a client without a certificate`);
  }
}

async function showCell(cell: Cell, server: Server, label: string, { tls, session }: Mode): Promise<void> {
  const { dialogue } = kinds[cell.server as KindName];
  const target = { port: server.port(label), ca: deployment.authority.root, tls, dialogue };
  const { succeeded, failures, sessions } = await handshakes({ ...target, ...load });
  results.push({ ...cell, tried: load.count, failed: failures.length });
  assert.deepEqual([...new Set(failures)], [], `${rowOf(cell)}\n${server.log().slice(-4000)}`);
  assert.equal(succeeded, load.count);
  const { certificateFile } = deployment.token.key(label);
  for (const each of sessions) {
    assert.match(each, session);
    assert.ok(each.endsWith(fingerprintOf(certificateFile)), `${rowOf(cell)} another certificate: ${each}`);
  }
}

/** Reloads, then a restart of the agent, while clients connect. */
async function shake(name: KindName, server: Server, label: string): Promise<void> {
  const { dialogue } = kinds[name];
  const tls = label === mutualKey.label ? client : {};
  const target: Target = { port: server.port(label), ca: deployment.authority.root, dialogue, tls };
  if (server.reloads) {
    const { succeeded, failures } = await underLoad(target, async () => {
      for (let i = 0; i < 3; i++) await server.reload();
    });
    note(name, reloads, succeeded, failures);
  }
  let [stopping, unlocked] = [0, 0];
  const count = await underLoad(target, async () => {
    stopping = performance.now();
    await deployment.agent.daemon.stop();
    await deployment.agent.start();
    assert.equal(await deployment.agent.settled(deployment.token.label), 'unlocked');
    unlocked = performance.now();
  });
  const without = count.failedAt.map(({ from, to }) => to < stopping || from > unlocked);
  note(
    name,
    agentRestarts,
    count.succeeded,
    count.failures.filter((_failure, i) => without[i]),
  );
}

function note(server: KindName, event: string, succeeded: number, failures: readonly string[]): void {
  const known = knownFailures.find((each) => each.server === server && each.event === event);
  const unexpected = failures.filter((failure) => known?.error.test(failure) !== true);
  const counted = { tried: succeeded + failures.length, failed: failures.length, because: known?.because };
  const row = shaken.find((each) => each.server === server && each.event === event);
  if (row === undefined) shaken.push({ server, event, ...counted });
  else {
    row.tried += counted.tried;
    row.failed += counted.failed;
  }
  assert.deepEqual([...new Set(unexpected)], [], `${server}, while ${event}`);
}
