/** Peers that try to use up the agent: crowds of connections, frames that claim too much, and no descriptors left. */
import assert from 'node:assert/strict';
import { once } from 'node:events';
import { connect } from 'node:net';
import { test } from 'node:test';
import { setTimeout as delay } from 'node:timers/promises';
import { encodeRequest, protocolVersion } from '@keyagent/protocol';
import { account, isRoot } from './support/account.js';
import { accepts } from './support/agent.js';
import { cleanupAfter, type Cleanup } from './support/cleanup.js';
import { mustRun } from './support/command.js';
import { Crowd } from './support/crowd.js';
import { deploy, type Deployment } from './support/deployment.js';
import { Load, type Latencies } from './support/load.js';
import { cpuSeconds, openDescriptors, residentKiB } from './support/proc.js';
import { waitFor } from './support/wait.js';

const asRoot = { skip: !isRoot && 'needs root, for processes of other users' };
const [games, daemon] = [account('games'), account('daemon')];
const crowdIdentity = { uid: games.uid, gid: games.gid, groups: [] };
const hello = encodeRequest({ id: 1, method: 'hello', params: protocolVersion });

function deployOpen(cleanup: Cleanup): Promise<Deployment> {
  return deploy(cleanup, {
    keys: [{ label: 'www', type: 'EC:prime256v1' }],
    agent: {
      rules: [{ keys: 'pkcs11:', users: [daemon.name] }],
      agentSettings: { socket_mode: '0666' },
    },
  });
}

/** A client of another user that signs all the time, one request after another. */
function victim(cleanup: Cleanup, deployment: Deployment): Promise<Load> {
  return Load.start(cleanup, {
    socket: deployment.agent.socket,
    identity: { uid: daemon.uid, gid: daemon.gid, groups: [] },
    connections: 1,
    inFlight: 1,
    uri: deployment.uri('www', 'private'),
    alg: 'ecdsa-sha256',
  });
}

test('a thousand connections that send a byte now and then leave the others alone', asRoot, async (t) => {
  const cleanup = cleanupAfter(t);
  const deployment = await deployOpen(cleanup);
  const load = await victim(cleanup, deployment);
  const before = await load.sign(200);
  const { socket } = deployment.agent;
  // A frame of 16 KiB that has begun.
  const first = Buffer.concat([hello, Buffer.from('00004000', 'hex')]).toString('hex');
  const crowd = await Crowd.gather(cleanup, {
    socket,
    identity: crowdIdentity,
    connections: 1000,
    first,
    drip: true,
  });
  const beside = await load.sign(200);
  await crowd.leave();
  const after = await load.sign(200);
  const told = ({ medianMs, p99Ms }: Latencies): string =>
    `median ${medianMs.toFixed(2)} p99 ${p99Ms.toFixed(2)} ms`;
  t.diagnostic(`before: ${told(before)}; beside them: ${told(beside)}; after: ${told(after)}`);
  assert.deepEqual([before.count, beside.count, after.count], [200, 200, 200]);
});

test('500 connections that say nothing are ended, and other users connect meanwhile', asRoot, async (t) => {
  const cleanup = cleanupAfter(t);
  const deployment = await deployOpen(cleanup);
  const { socket, daemon: agent } = deployment.agent;
  const idle = openDescriptors(agent.pid);
  await Crowd.gather(cleanup, { socket, identity: crowdIdentity, connections: 500 });
  await waitFor('all are accepted', () => openDescriptors(agent.pid) >= idle + 500);
  const startedAt = performance.now();
  const load = await victim(cleanup, deployment);
  assert.equal((await load.sign(10)).count, 10);
  t.diagnostic(
    `another user has connected and signed within ${(performance.now() - startedAt).toFixed(0)} ms, process and all`,
  );
  await waitFor('those are ended', () => openDescriptors(agent.pid) <= idle + 10, 30_000);
});

test('one user gets 4096 connections, and another still connects', asRoot, async (t) => {
  const cleanup = cleanupAfter(t);
  const deployment = await deployOpen(cleanup);
  const { socket, daemon: agent } = deployment.agent;
  await mustRun('prlimit', [`--pid=${agent.pid}`, '--nofile=16384:16384']);
  const idle = openDescriptors(agent.pid);
  const crowd = { socket, identity: crowdIdentity, first: hello.toString('hex') };
  await Crowd.gather(cleanup, { ...crowd, connections: 2100 });
  await Crowd.gather(cleanup, { ...crowd, connections: 2100 });
  await waitFor('the bound is reached', () =>
    agent.log.includes('connection refused: this uid has too many'),
  );
  await waitFor('the rest is gone', () => openDescriptors(agent.pid) <= idle + 4096);
  const load = await victim(cleanup, deployment);
  assert.equal((await load.sign(10)).count, 10);
});

test('an agent without descriptors does not spin, and serves when there are some', asRoot, async (t) => {
  const cleanup = cleanupAfter(t);
  const deployment = await deployOpen(cleanup);
  const { socket, daemon: agent } = deployment.agent;
  const limit = openDescriptors(agent.pid) + 20;
  await mustRun('prlimit', [`--pid=${agent.pid}`, `--nofile=${limit}:16384`]);
  const crowd = await Crowd.gather(cleanup, {
    socket,
    identity: crowdIdentity,
    connections: 100,
    first: hello.toString('hex'),
  });
  // That nothing happens shows only over time.
  const [worked, startedAt] = [cpuSeconds(agent.pid), performance.now()];
  await delay(1000);
  const busy = (cpuSeconds(agent.pid) - worked) / ((performance.now() - startedAt) / 1000);
  t.diagnostic(`busy for ${(busy * 100).toFixed(0)} % of the time`);
  assert.ok(busy < 0.5, `busy for ${busy} of the time`);
  await crowd.leave();
  await waitFor('it serves again', () => accepts(socket));
  const load = await victim(cleanup, deployment);
  assert.equal((await load.sign(10)).count, 10);
});

test(
  'frames that claim 4 GiB, or nest a thousand times, cost nothing and end their connection',
  asRoot,
  async (t) => {
    const cleanup = cleanupAfter(t);
    const deployment = await deployOpen(cleanup);
    const { socket, daemon: agent } = deployment.agent;
    const load = await victim(cleanup, deployment);
    await load.sign(50);
    const nested = Buffer.concat([Buffer.from('00004000', 'hex'), Buffer.alloc(0x4000, 0x91)]);
    const before = residentKiB(agent.pid);
    const times: number[] = [];
    for (let i = 0; i < 200; i++) {
      const startedAt = performance.now();
      await endsAfter(socket, i % 2 === 0 ? Buffer.from('ffffffff', 'hex') : nested);
      times.push(performance.now() - startedAt);
    }
    const grown = residentKiB(agent.pid) - before;
    t.diagnostic(
      `ended after ${times.sort((a, b) => a - b)[100]?.toFixed(1) ?? ''} ms (median); the agent has grown by ${grown} KiB after 200`,
    );
    assert.ok(grown < 32 * 1024, `${grown} KiB`);
    assert.equal((await load.sign(50)).count, 50);
  },
);

/** Says hello, sends this, and waits until the agent hangs up. */
async function endsAfter(path: string, bytes: Buffer): Promise<void> {
  const socket = connect(path).resume();
  socket.write(Buffer.concat([hello, bytes]));
  await once(socket, 'close', { signal: AbortSignal.timeout(10_000) });
}
