import assert from 'node:assert/strict';
import { once } from 'node:events';
import { chmodSync, mkdtempSync, rmSync } from 'node:fs';
import { createServer, type Socket } from 'node:net';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { test, type TestContext } from 'node:test';
import { connect, type Client, type Key } from '@keyagent/client';
import { AgentError, type Request } from '@keyagent/protocol';
import { startAgent, type Answer, type AgentPeer } from './agent-peer.js';
import { answerKey } from './served-keys.js';

const message = Buffer.from('hello');

async function open(t: TestContext, answer: Answer): Promise<{ agent: AgentPeer; client: Client; key: Key }> {
  const agent = await startAgent(t, answer);
  const client = await connect({ socket: agent.path, timeoutMs: 5000 });
  t.after(() => client.close());
  return { agent, client, key: await client.key('pkcs11:object=ed') };
}

/** Hangs up on the first `count` requests to sign. */
function dropping(count: number): Answer {
  let left = count;
  return (request) => (request.method === 'sign' && left-- > 0 ? 'drop' : answerKey(request));
}

function signRequests({ requests }: AgentPeer): Extract<Request, { method: 'sign' }>[] {
  return requests.filter((request) => request.method === 'sign');
}

test('a request that was lost unanswered is repeated once, marked, in what is left of its time', async (t) => {
  const { agent, key } = await open(t, dropping(1));
  assert.equal((await key.sign('ed25519', message)).length, 64);
  const [first, second] = signRequests(agent).map(({ params }) => params);
  assert.deepEqual([first?.repeat, second?.repeat], [undefined, true]);
  assert((second?.deadline_ms ?? Infinity) <= (first?.deadline_ms ?? 0));
  assert.equal(agent.connections, 2);
});

test('a request that is lost twice fails', async (t) => {
  const { agent, key } = await open(t, dropping(2));
  await assert.rejects(key.sign('ed25519', message), { code: 'UNAVAILABLE' });
  assert.equal(signRequests(agent).length, 2);
});

test('an error reply is never repeated, whatever it says', async (t) => {
  for (const code of ['LOCKED', 'BUSY', 'TIMEOUT', 'TOKEN_ERROR', 'STOPPING', 'INTERNAL'] as const) {
    const { agent, key } = await open(t, (request) => {
      if (request.method === 'sign') throw new AgentError(code, 'no');
      return answerKey(request);
    });
    await assert.rejects(key.sign('ed25519', message), { code });
    assert.equal(signRequests(agent).length, 1);
  }
});

test('many requests that are lost together share the new connection', async (t) => {
  const { agent, key } = await open(t, dropping(1));
  const signatures = await Promise.all(Array.from({ length: 50 }, () => key.sign('ed25519', message)));
  assert.equal(signatures.length, 50);
  assert.equal(agent.connections, 2);
});

test('after an idle connection was lost the next call is a first one, not a repeat', async (t) => {
  const { agent, client, key } = await open(t, answerKey);
  const lost = new Promise((resolve) => client.once('disconnected', resolve));
  agent.hangUp();
  await lost;
  await key.sign('ed25519', message);
  assert.deepEqual(
    signRequests(agent).map(({ params }) => params.repeat),
    [undefined],
  );
});

test('a call waits for an agent that restarts', async (t) => {
  const { agent, key } = await open(t, answerKey);
  await agent.stop();
  const call = key.sign('ed25519', message);
  await agent.start();
  assert.equal((await call).length, 64);
});

test('a call fails with what to do if the agent stays away', async (t) => {
  const { agent, key } = await open(t, answerKey);
  await agent.stop();
  await assert.rejects(key.sign('ed25519', message), { code: 'UNAVAILABLE', message: /start keyagentd/ });
});

test('a call that waits for the agent ends at its own timeout or signal', async (t) => {
  const { agent, key } = await open(t, answerKey);
  await agent.stop();
  const patient = key.sign('ed25519', message);
  await assert.rejects(key.sign('ed25519', message, { timeoutMs: 5 }), { code: 'TIMEOUT' });
  await assert.rejects(key.sign('ed25519', message, { signal: AbortSignal.abort() }), { code: 'CANCELLED' });
  await agent.start();
  await patient;
});

test('a call that waits for the agent ends when the client is closed', async (t) => {
  const { agent, client, key } = await open(t, answerKey);
  await agent.stop();
  const call = key.sign('ed25519', message);
  client.close();
  await assert.rejects(call, { code: 'UNAVAILABLE', message: /closed/ });
});

test('connecting that is given up leaves no connection behind', async (t) => {
  const folder = mkdtempSync(join(tmpdir(), 'keyagent-client-'));
  t.after(() => rmSync(folder, { recursive: true }));
  const socket = join(folder, 'agent.sock');
  const silent = createServer().listen(socket);
  await once(silent, 'listening');
  t.after(() => silent.close());
  const accepted = once(silent, 'connection') as Promise<[Socket]>;
  const controller = new AbortController();
  const client = connect({ socket, signal: controller.signal });
  const [peer] = await accepted;
  const ended = once(peer.resume(), 'end');
  controller.abort();
  await assert.rejects(client, { code: 'CANCELLED' });
  await ended;
});

const isRoot = process.geteuid?.() === 0;

test('a program that changed its user gets a connection of its own', { skip: !isRoot }, async (t) => {
  const { agent, key } = await open(t, answerKey);
  chmodSync(agent.path, 0o666);
  chmodSync(dirname(agent.path), 0o755);
  await key.sign('ed25519', message);
  assert.equal(agent.connections, 1);
  process.seteuid?.(65534);
  try {
    await key.sign('ed25519', message);
  } finally {
    process.seteuid?.(0);
  }
  assert.equal(agent.connections, 2);
});

test('one that changes it while it connects too', { skip: !isRoot }, async (t) => {
  const { agent, client, key } = await open(t, answerKey);
  chmodSync(agent.path, 0o666);
  chmodSync(dirname(agent.path), 0o755);
  const lost = once(client, 'disconnected');
  agent.hangUp();
  await lost;
  const call = key.sign('ed25519', message);
  process.seteuid?.(65534);
  try {
    await call;
  } finally {
    process.seteuid?.(0);
  }
  assert.equal(agent.connections, 3);
});
