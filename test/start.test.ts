/** Requests that come after the agent listens and before it has looked at its tokens: they wait for that, and no longer. */
import assert from 'node:assert/strict';
import { rmSync } from 'node:fs';
import { userInfo } from 'node:os';
import path from 'node:path';
import { test, type TestContext } from 'node:test';
import { connectCaller, type Caller } from '@keyagent/protocol';
import type { Agent } from './support/agent.js';
import { asRoot, deployFleet, kinds } from './servers/fleet.js';
import { makeSite } from './servers/site.js';
import { auditOf } from './support/audit.js';
import { cleanupAfter } from './support/cleanup.js';
import { deploy, type DeploymentSpec } from './support/deployment.js';
import { fetchPage } from './support/handshakes.js';
import { waitFor } from './support/wait.js';

const keys = [{ label: 'www', type: 'EC:prime256v1' }] as const;
const rules = [{ keys: 'pkcs11:', users: [userInfo().username] }];
const uri = 'pkcs11:token=web;object=www';
const request = { uri, alg: 'ecdsa-sha256', message: Buffer.from('message') } as const;

/** An agent that was unlocked once, starts again with a module that does as it is told, and just listens. */
async function starting(
  t: TestContext,
  fault: string,
  { neverUnlocked = false, ...spec }: Partial<DeploymentSpec> & { neverUnlocked?: boolean } = {},
): Promise<{ agent: Agent; caller: Caller }> {
  const { agent } = await deploy(cleanupAfter(t), {
    keys,
    ...spec,
    agent: { rules, credential: true, counted: 'web', ...spec.agent },
  });
  await agent.daemon.stop();
  if (neverUnlocked) rmSync(path.join(agent.stateDir, 'web.keys.json'));
  agent.counting?.setFaults(fault);
  await agent.start();
  const caller = await connectCaller(agent.socket);
  t.after(() => {
    caller.close();
  });
  assert.equal(await agent.tokenState('web'), 'absent');
  return { agent, caller };
}

const slow = 'C_GetSlotList sleep_ms=1500 count=1';

test('a key and a signature are given once the token was opened and unlocked', async (t) => {
  const { agent, caller } = await starting(t, slow);
  const [key, signed] = await Promise.all([caller.call('key', { uri }), caller.call('sign', request)]);
  assert.match(key.uri, /object=www/);
  assert.ok(signed.signature.length > 60);
  assert.equal(await agent.tokenState('web'), 'unlocked');
});

test('of an agent that never unlocked, a key is missing only after the first login', async (t) => {
  const { agent, caller } = await starting(t, slow, { neverUnlocked: true });
  await assert.rejects(caller.call('key', { uri: 'pkcs11:object=none' }), { code: 'NOT_FOUND' });
  assert.equal(await agent.tokenState('web'), 'unlocked');
});

test('where nobody logs in by itself, a key is given and a signature refused once the token was opened', async (t) => {
  const { caller } = await starting(t, slow, { agent: { rules, counted: 'web', credential: false } });
  const signed = assert.rejects(caller.call('sign', request), {
    code: 'LOCKED',
    message: /keyagent unlock web/,
  });
  assert.match((await caller.call('key', { uri })).uri, /object=www/);
  await signed;
});

test('a token that is not there is told after the first look, and each time at once from then on', async (t) => {
  const { agent, caller } = await starting(t, 'C_GetSlotList sleep_ms=1000 rv=0xe0', {
    agent: { rules, counted: 'web', credential: true, agentSettings: { hold_ms: 600_000 } },
  });
  for (let i = 0; i < 2; i++) {
    await assert.rejects(caller.call('sign', request, { timeoutMs: 30_000 }), { code: 'TOKEN_ABSENT' });
    await assert.rejects(caller.call('key', { uri }, { timeoutMs: 30_000 }), { code: 'TOKEN_ABSENT' });
  }
  assert.equal(await agent.tokenState('web'), 'absent');
});

test("a request does not wait longer than its own deadline, nor than hold_ms, and another token's key does not wait", async (t) => {
  const hangs = 'C_GetSlotList sleep_ms=600000';
  const { agent, caller } = await starting(t, hangs, {
    spare: true,
    agent: { rules, counted: 'web', credential: true, agentSettings: { hold_ms: 1000 } },
  });
  await waitFor('the other token is unlocked', async () => (await agent.tokenState('spare')) === 'unlocked');
  const spare = await caller.call('sign', { ...request, uri: 'pkcs11:token=spare;object=www' });
  assert.ok(spare.signature.length > 60);
  await assert.rejects(caller.call('sign', { ...request, deadline_ms: 100 }), { code: 'TIMEOUT' });
  const expected = { code: 'TOKEN_ABSENT', message: /still being opened; try again/ };
  const asked = [caller.call('sign', request), caller.call('key', { uri })];
  await Promise.all(asked.map((each) => assert.rejects(each, expected)));
  assert.equal(await agent.tokenState('web'), 'absent');
  assert.ok(auditOf(agent).some(({ event, outcome }) => event === 'sign' && outcome === 'TIMEOUT'));
});

test('under a rule with hold_max = 0 a signature waits for no token that is being opened; the key it asks for does', async (t) => {
  const { agent, caller } = await starting(t, slow, {
    agent: { rules: [...rules, { ...rules[0], hold_max: 0 }], counted: 'web', credential: true },
  });
  const expected = { code: 'TOKEN_ABSENT', message: /still being opened; try again/ };
  const key = caller.call('key', { uri });
  await assert.rejects(caller.call('sign', request), expected);
  assert.equal(await agent.tokenState('web'), 'absent');
  assert.match((await key).uri, /object=www/);
});

test(
  'a server that starts beside the agent finds its key, and serves once the token is unlocked',
  asRoot,
  async (t) => {
    const cleanup = cleanupAfter(t);
    const deployment = await deployFleet(cleanup, keys, () => ({ counted: true }));
    const { agent, authority } = deployment;
    for (const name of ['nginx', 'Apache event'] as const) {
      const site = await makeSite(cleanup, deployment, { keys: ['www'] });
      // Its configuration is there already; the machine boots.
      const first = await kinds[name].start(site);
      await first.stop();
      await agent.daemon.stop();
      agent.counting?.setFaults(slow);
      await agent.start();
      assert.equal(await agent.tokenState('web'), 'absent');
      const server = await kinds[name].start(site);
      await fetchPage({ port: server.port('www'), ca: authority.root });
      await server.stop();
    }
  },
);
