import assert from 'node:assert/strict';
import { once } from 'node:events';
import { chownSync } from 'node:fs';
import { test, type TestContext } from 'node:test';
import { connect, type Client } from '@keyagent/client';
import { AgentError } from '@keyagent/protocol';
import { startAgent, type Answer, type AgentPeer } from './agent-peer.js';
import { answerKey } from './served-keys.js';

async function open(t: TestContext, answer: Answer): Promise<{ agent: AgentPeer; client: Client }> {
  const agent = await startAgent(t, answer);
  const client = await connect({ socket: agent.path, name: 'client.test' });
  t.after(() => client.close());
  return { agent, client };
}

const entry = (uri: string) => ({ uri, algorithm: 'rsa', bits: 2048, state: 'verified' }) as const;

test('connect says hello with its name and asks for notifications', async (t) => {
  const { agent } = await open(t, answerKey);
  assert.deepEqual(agent.hellos, [{ min: 1, max: 1, name: 'client.test', notify: true }]);
});

test('connect fails at once if no agent listens', async () => {
  await assert.rejects(connect({ socket: '/nonexistent/agent.sock' }), {
    code: 'UNAVAILABLE',
    message: /start keyagentd/,
  });
  await assert.rejects(connect({ socket: 'agent.sock' }), { code: 'INVALID' });
});

test('keys follows the pages', async (t) => {
  const uris = ['pkcs11:object=a', 'pkcs11:object=b', 'pkcs11:object=c'];
  const { agent, client } = await open(t, ({ params }) => {
    const next = uris.findIndex((uri) => uri > ((params as { after?: string }).after ?? ''));
    return { keys: uris.slice(next, next + 1).map(entry), more: next < uris.length - 1 };
  });
  assert.deepEqual(await client.keys(), uris.map(entry));
  assert.deepEqual(
    agent.requests.map(({ params }) => params),
    [{}, { after: uris[0] }, { after: uris[1] }],
  );
});

test('keys of an agent without keys is empty', async (t) => {
  const { client } = await open(t, () => ({ keys: [], more: false }));
  assert.deepEqual(await client.keys(), []);
});

test('keys ends if the agent gives the same page again, or promises more and gives none', async (t) => {
  const { client } = await open(t, () => ({ keys: [entry('pkcs11:object=a')], more: true }));
  await assert.rejects(client.keys(), { code: 'MALFORMED' });
  const { client: other } = await open(t, () => ({ keys: [], more: true }));
  await assert.rejects(other.keys(), { code: 'MALFORMED' });
});

test('key refuses a URI with a PIN or a module before anything is sent', async (t) => {
  const { agent, client } = await open(t, answerKey);
  for (const uri of [
    'pkcs11:object=a?pin-value=1234',
    'pkcs11:?module-path=/x.so',
    'pkcs11:object=a;object=b',
    'www',
  ]) {
    await assert.rejects(client.key(uri), { code: 'INVALID' }, uri);
  }
  assert.equal(agent.requests.length, 0);
});

test('errors of the agent arrive with code, text and candidates', async (t) => {
  const candidates = ['pkcs11:token=a;object=www', 'pkcs11:token=b;object=www'];
  const { client } = await open(t, () => {
    throw new AgentError('AMBIGUOUS', 'two keys match', { candidates });
  });
  await assert.rejects(client.key('keyagent:www'), {
    name: 'AgentError',
    code: 'AMBIGUOUS',
    message: 'two keys match',
    candidates,
  });
});

test('status tells the tokens', async (t) => {
  const status = {
    agent: 'keyagent 1',
    pid: 7,
    uptime: 9,
    revoked: false,
    tokens: [{ name: 'web', state: 'locked' as const }],
  };
  const { client } = await open(t, () => status);
  assert.deepEqual(await client.status(), status);
});

test('calls share one connection and need not wait for each other', async (t) => {
  const { agent, client } = await open(t, answerKey);
  const key = await client.key('pkcs11:object=ed');
  const signatures = await Promise.all(
    Array.from({ length: 200 }, (_, i) => key.sign('ed25519', Buffer.of(i))),
  );
  assert.equal(new Set(signatures.map((signature) => signature.toString('hex'))).size, 200);
  assert.equal(agent.connections, 1);
});

test('a call ends at its timeout and is cancelled at the agent', async (t) => {
  const { agent, client } = await open(t, (request) =>
    request.method === 'sign' ? 'silence' : answerKey(request),
  );
  const key = await client.key('pkcs11:object=ed');
  await assert.rejects(key.sign('ed25519', Buffer.of(1), { timeoutMs: 20 }), { code: 'TIMEOUT' });
  // Its answer comes behind everything that was sent before.
  await client.key('pkcs11:object=ed');
  const sent = agent.requests.find(({ method }) => method === 'sign');
  assert((sent?.params as { deadline_ms: number }).deadline_ms <= 20);
  assert.deepEqual(agent.cancelled, [sent?.id]);
});

test('a call ends when its signal fires', async (t) => {
  const { client } = await open(t, (request) => (request.method === 'sign' ? 'silence' : answerKey(request)));
  const key = await client.key('pkcs11:object=ed');
  const controller = new AbortController();
  const call = key.sign('ed25519', Buffer.of(1), { signal: controller.signal });
  controller.abort();
  await assert.rejects(call, { code: 'CANCELLED' });
});

test('one signal for many calls ends them all, and nobody warns of a leak', async (t) => {
  const { client } = await open(t, (request) => (request.method === 'sign' ? 'silence' : answerKey(request)));
  const warnings: string[] = [];
  const onWarning = ({ name }: Error): number => warnings.push(name);
  process.on('warning', onWarning);
  t.after(() => process.off('warning', onWarning));
  const key = await client.key('pkcs11:object=ed');
  const controller = new AbortController();
  const options = { signal: controller.signal };
  const calls = Array.from({ length: 50 }, () => key.sign('ed25519', Buffer.of(1), options));
  await client.key('pkcs11:object=ed');
  controller.abort();
  for (const call of calls) await assert.rejects(call, { code: 'CANCELLED' });
  assert.deepEqual(warnings, []);
});

test('state, rotated and disconnected are told', async (t) => {
  const { agent, client } = await open(t, answerKey);
  const state = once(client, 'state');
  agent.notify({ method: 'state', params: { token: 'web', state: 'unlocked' } });
  assert.deepEqual(await state, ['web', 'unlocked']);
  const rotated = once(client, 'rotated');
  agent.notify({ method: 'rotated', params: { uri: 'pkcs11:object=www' } });
  assert.deepEqual(await rotated, ['pkcs11:object=www']);
  const disconnected = once(client, 'disconnected');
  agent.hangUp();
  const [reason] = (await disconnected) as [AgentError];
  assert.equal(reason.code, 'UNAVAILABLE');
});

test('locked and unlocked are told beside state, other states by state alone', async (t) => {
  const { agent, client } = await open(t, answerKey);
  const told: string[] = [];
  client.on('locked', (token) => told.push(`${token} locked`));
  client.on('unlocked', (token) => told.push(`${token} unlocked`));
  const done = new Promise<void>((resolve) => {
    client.on('state', (_token, state) => state === 'failed' && resolve());
  });
  for (const state of ['locked', 'unlocking', 'unlocked', 'absent', 'pin-blocked', 'failed'] as const) {
    agent.notify({ method: 'state', params: { token: 'web', state } });
  }
  await done;
  assert.deepEqual(told, ['web locked', 'web unlocked']);
});

test('after the agent was away, whoever listens is told the state of each token without a call', async (t) => {
  const tokens = [
    { name: 'web', state: 'unlocked' as const },
    { name: 'spare', state: 'locked' as const },
  ];
  const status = { agent: 'keyagent 1', pid: 7, uptime: 9, revoked: false, tokens };
  const { agent, client } = await open(t, () => status);
  const [unlocked, locked] = [once(client, 'unlocked'), once(client, 'locked')];
  await agent.stop();
  await agent.start();
  assert.deepEqual([await unlocked, await locked], [['web'], ['spare']]);
  assert.deepEqual(
    agent.requests.map(({ method }) => method),
    ['status'],
  );
});

test('a listener that throws is not taken for a breach of the agent', async (t) => {
  const { agent, client } = await open(t, answerKey);
  const thrown = new AgentError('INTERNAL', "the listener's own");
  client.on('rotated', () => {
    throw thrown;
  });
  const uncaught = new Promise((resolve) => process.setUncaughtExceptionCaptureCallback(resolve));
  agent.notify({ method: 'rotated', params: { uri: 'pkcs11:object=www' } });
  assert.equal(await uncaught, thrown);
  process.setUncaughtExceptionCaptureCallback(null);
  await client.key('pkcs11:object=ed');
  assert.equal(agent.connections, 1);
});

test('a timeout is a number over 0, Infinity included', async (t) => {
  const { agent, client } = await open(t, answerKey);
  for (const timeoutMs of [0, -1, NaN]) {
    await assert.rejects(client.key('pkcs11:object=ed', { timeoutMs }), { code: 'INVALID' });
    await assert.rejects(connect({ socket: agent.path, timeoutMs }), { code: 'INVALID' });
  }
  const key = await client.key('pkcs11:object=ed');
  await key.sign('ed25519', Buffer.of(1), { timeoutMs: Infinity });
});

test('connecting ends when its signal fires', async (t) => {
  const { agent } = await open(t, answerKey);
  await assert.rejects(connect({ socket: agent.path, signal: AbortSignal.abort() }), { code: 'CANCELLED' });
});

test('after close, calls fail, and those in flight too', async (t) => {
  const { client } = await open(t, () => 'silence');
  let told = 0;
  client.on('disconnected', () => told++);
  const call = client.status();
  client.close();
  await assert.rejects(call, { code: 'UNAVAILABLE' });
  await assert.rejects(client.status(), { code: 'UNAVAILABLE', message: /closed/ });
  assert.equal(told, 0);
});

const isRoot = process.geteuid?.() === 0;

test("connect refuses another user's socket, unless told to trust it", { skip: !isRoot }, async (t) => {
  const agent = await startAgent(t, answerKey);
  chownSync(agent.path, 65534, 65534);
  await assert.rejects(connect({ socket: agent.path }), { code: 'UNTRUSTED', message: /uid 65534/ });
  assert.equal(agent.connections, 0);
  (await connect({ socket: agent.path, trustedUids: [65534] })).close();
});
