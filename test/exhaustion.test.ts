/** Peers that try to use up the agent: crowds of connections, frames that claim too much, and no descriptors left. */
import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { connect } from 'node:net';
import { test } from 'node:test';
import { setTimeout as delay } from 'node:timers/promises';
import { decodeReply, FrameReader, limits } from '@keyagent/protocol';
import { account, isRoot } from './support/account.js';
import { accepts } from './support/agent.js';
import { cleanupAfter, type Cleanup } from './support/cleanup.js';
import { mustRun, runCommand, type CommandResult } from './support/command.js';
import { costs } from './support/cost.js';
import { begunFrame, Crowd, hello } from './support/crowd.js';
import { deploy, type Deployment } from './support/deployment.js';
import { Load } from './support/load.js';
import { keyagentCommand } from './support/paths.js';
import { cpuSeconds, openDescriptors, residentKiB } from './support/proc.js';
import { waitFor } from './support/wait.js';

const asRoot = { skip: !isRoot && 'needs root, for processes of other users' };
const [games, daemon] = [account('games'), account('daemon')];
const crowdIdentity = { uid: games.uid, gid: games.gid, groups: [] };

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
  const { socket, daemon: agent } = deployment.agent;
  const load = await victim(cleanup, deployment);
  await load.sign(200);
  const crowd = await Crowd.gather(cleanup, {
    socket,
    identity: crowdIdentity,
    connections: 1000,
    first: begunFrame.toString('hex'),
  });
  const { signatureUs, byteUs } = await costs(agent.pid, load, crowd);
  t.diagnostic(`us of the agent: a signature ${signatureUs.toFixed(0)}, a byte ${byteUs.toFixed(1)}`);
  assert.ok(byteUs < signatureUs, `${byteUs} us for a byte, ${signatureUs} us for a signature`);
  await crowd.dripSlowly();
  assert.equal((await load.sign(200)).count, 200);
});

test('500 connections that say nothing are ended, and other users connect meanwhile', asRoot, async (t) => {
  const cleanup = cleanupAfter(t);
  const deployment = await deployOpen(cleanup);
  const { socket, daemon: agent } = deployment.agent;
  const idle = openDescriptors(agent.pid);
  await Crowd.gather(cleanup, { socket, identity: crowdIdentity, connections: 500 });
  // The last connection before them may not have been closed yet.
  await waitFor('all are accepted', () => openDescriptors(agent.pid) >= idle + 490);
  const startedAt = performance.now();
  const load = await victim(cleanup, deployment);
  assert.equal((await load.sign(10)).count, 10);
  t.diagnostic(
    `another user has connected and signed within ${(performance.now() - startedAt).toFixed(0)} ms, process and all`,
  );
  await waitFor('those are ended', () => openDescriptors(agent.pid) <= idle + 10, 30_000);
});

test('one user gets 4096 connections and is told so, and another still connects', asRoot, async (t) => {
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
  const told = agent.log.match(/connection refused: this uid has too many/g)?.length ?? 0;
  assert.ok(told < 50, `${told} lines of 104 refusals`);
  await waitFor('the rest is gone', () => openDescriptors(agent.pid) <= idle + 4096);
  const [byNode, byProvider] = await refused(deployment);
  assert.deepEqual([byNode.status, byProvider.status], [75, 1]);
  assert.match(byNode.stderr, /^keyagent: this user has 4096 connections open, .* try again\n$/);
  assert.match(byProvider.stderr, /:BUSY:.*:this user has 4096 connections open, /);
  const load = await victim(cleanup, deployment);
  assert.equal((await load.sign(10)).count, 10);
});

/** Says hello on 20 connections, each time with 200 descriptors, reads the answer and waits. */
const passDescriptors = `
import array, os, socket, sys
kept = []
for _ in range(20):
    peer = socket.socket(socket.AF_UNIX)
    peer.connect(sys.argv[1])
    files = array.array("i", [os.open("/dev/null", os.O_RDONLY) for _ in range(200)])
    peer.sendmsg([bytes.fromhex(sys.argv[2])], [(socket.SOL_SOCKET, socket.SCM_RIGHTS, files)])
    for file in files: os.close(file)
    assert peer.recv(4096)
    kept.append(peer)
print("passed", flush=True)
sys.stdin.read()
`;

test('descriptors that a peer passes with its bytes are not taken', async (t) => {
  const { agent } = await deployOpen(cleanupAfter(t));
  const before = openDescriptors(agent.daemon.pid);
  const args = ['-c', passDescriptors, agent.socket, hello.toString('hex')];
  const peer = spawn('python3', args, { stdio: ['pipe', 'pipe', 'inherit'] });
  t.after(() => peer.kill());
  const [said] = (await once(peer.stdout, 'data', { signal: AbortSignal.timeout(20_000) })) as [Buffer];
  // Its newline may come by itself.
  assert.equal(said.toString().trimEnd(), 'passed');
  // Nothing but the connections; what was still closing before may be gone.
  const taken = openDescriptors(agent.daemon.pid) - before;
  assert.ok(taken <= 20, `${taken} more`);
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

const nested = Buffer.concat([Buffer.from('00004000', 'hex'), Buffer.alloc(0x4000, 0x91)]);
const greedyFrames = { 'claims 4 GiB': Buffer.from('ffffffff', 'hex'), 'nests 16384 times': nested };

for (const [name, frame] of Object.entries(greedyFrames)) {
  test(`a frame that ${name} takes no memory, is refused, and ends its connection`, asRoot, async (t) => {
    const cleanup = cleanupAfter(t);
    const deployment = await deployOpen(cleanup);
    const { socket, daemon: agent } = deployment.agent;
    const load = await victim(cleanup, deployment);
    await load.sign(50);
    const frames: { grownKiB: number; ms: number }[] = [];
    for (let i = 0; i < 100; i++) {
      const [before, startedAt] = [residentKiB(agent.pid), performance.now()];
      await endsAfter(socket, frame);
      frames.push({ ms: performance.now() - startedAt, grownKiB: residentKiB(agent.pid) - before });
    }
    const [grownKiB, ms] = [
      median(frames.map((each) => each.grownKiB)),
      median(frames.map((each) => each.ms)),
    ];
    const total = frames.reduce((sum, each) => sum + each.grownKiB, 0);
    t.diagnostic(`one: ${grownKiB} KiB, ended after ${ms.toFixed(1)} ms (medians); a hundred: ${total} KiB`);
    assert.ok(grownKiB < 1024, `${grownKiB} KiB`);
    assert.ok(total < 32 * 1024, `${total} KiB`);
    assert.equal((await load.sign(50)).count, 50);
  });
}

function median(values: readonly number[]): number {
  return values.toSorted((a, b) => a - b)[values.length >> 1] ?? NaN;
}

/** What somebody of the crowd's user reads from the two client libraries. */
function refused(deployment: Deployment): Promise<[CommandResult, CommandResult]> {
  const { agent, opensslEnv } = deployment;
  const who = { uid: games.uid, gid: games.gid };
  return Promise.all([
    runCommand(keyagentCommand, ['--socket', agent.socket, 'keys'], who),
    runCommand('openssl', ['pkey', '-pubout', '-in', deployment.uri('www', 'private')], {
      env: opensslEnv,
      ...who,
    }),
  ]);
}

/** Says hello, sends this, and reads until the agent hangs up: its last word is an error. */
async function endsAfter(path: string, bytes: Buffer): Promise<void> {
  const socket = connect(path);
  const received: Buffer[] = [];
  socket.on('data', (chunk: Buffer) => received.push(chunk));
  socket.write(Buffer.concat([hello, bytes]));
  await once(socket, 'close', { signal: AbortSignal.timeout(10_000) });
  const last = new FrameReader(limits.frame).push(Buffer.concat(received)).at(-1);
  assert.ok(last !== undefined);
  assert.match(JSON.stringify(decodeReply(last, () => undefined)), /"error"/);
}
