/** Settings that a reload takes over without another login: each shows in what the agent does from then on. */
import assert from 'node:assert/strict';
import { renameSync } from 'node:fs';
import path from 'node:path';
import { test, type TestContext } from 'node:test';
import { connectCaller, type Caller } from '@keyagent/protocol';
import type { Agent } from './support/agent.js';
import type { AgentSpec } from './support/agent-home.js';
import { cleanupAfter } from './support/cleanup.js';
import { deploy, type Deployment } from './support/deployment.js';
import { childrenOf } from './support/proc.js';
import { SoftHsm } from './support/softhsm.js';
import { waitFor } from './support/wait.js';

const keys = [{ label: 'www', type: 'EC:prime256v1' }] as const;
const rules = [{ keys: 'pkcs11:', users: ['root'], operations: ['sign'] }];

interface Site extends Deployment {
  caller: Caller;
  sign(): Promise<unknown>;
  /** Changes the file, reloads, and shows that the token has the hosts that it had. */
  reload(settings: { agent?: object; token?: object }): Promise<void>;
}

async function site(t: TestContext, agentSpec: Partial<AgentSpec>): Promise<Site> {
  const deployment = await deploy(cleanupAfter(t), { keys, agent: { rules, ...agentSpec } });
  const { agent } = deployment;
  const caller = await connectCaller(agent.socket, { notify: true });
  t.after(() => {
    caller.close();
  });
  const request = { uri: 'pkcs11:object=www', alg: 'ecdsa-sha256', message: Buffer.from('m') } as const;
  return Object.assign(deployment, {
    caller,
    sign: () => caller.call('sign', request, { timeoutMs: 60_000 }),
    reload: (settings: object) => reload(agent, settings),
  });
}

async function reload(agent: Agent, settings: { agent?: object; token?: object }): Promise<void> {
  const before = childrenOf(agent.daemon.pid);
  agent.configure((tables) => {
    Object.assign(tables.agent, settings.agent);
    for (const table of tables.token) Object.assign(table, settings.token);
  });
  await agent.mustKeyagent(['reload']);
  assert.deepEqual(childrenOf(agent.daemon.pid), before);
}

test('hold_ms: how long the next request waits for a login that is under way', async (t) => {
  const { agent, sign, reload: change } = await site(t, { counted: true, credential: true });
  const sleeps = (): number => agent.counting?.sleeps().get('C_Login') ?? 0;
  for (const [holdMs, outcome] of [
    [0, 'LOCKED'],
    [60_000, 'ok'],
  ] as const) {
    await change({ agent: { hold_ms: holdMs } });
    await agent.mustKeyagent(['lock']);
    agent.counting?.setFaults('C_Login sleep_ms=1500');
    const before = sleeps();
    const unlocked = agent.unlock();
    await waitFor('the login is under way', () => sleeps() > before);
    const code = await sign().then(
      () => 'ok',
      (error: unknown) => (error as { code?: unknown }).code,
    );
    assert.equal(code, outcome);
    await unlocked;
  }
});

test('rescan_ms: when new keys in the token are noticed', async (t) => {
  const { agent, token, caller, reload: change } = await site(t, { tokenSettings: { rescan_ms: 0 } });
  const { hsm } = agent.spec;
  assert.ok(hsm instanceof SoftHsm);
  const told = new Promise<string>((resolve) => {
    caller.on('notice', ({ method, params }) => {
      if (method === 'rotated') resolve(params.uri);
    });
  });
  await change({ token: { rescan_ms: 1000 } });
  const made = ['--keypairgen', '--key-type', 'EC:prime256v1', '--label', 'new', '--id', '77'];
  await hsm.pkcs11Tool(token, ...made);
  assert.match(await told, /object=new/);
});

test('on_removal: what becomes of a token that leaves', async (t) => {
  const {
    agent,
    sign,
    reload: change,
  } = await site(t, {
    counted: true,
    credential: true,
    tokenSettings: { on_removal: 'drain' },
  });
  await sign();
  await change({ token: { on_removal: 'lock' } });
  agent.counting?.removeToken();
  await waitFor('it is gone', async () => (await agent.tokenState('web')) === 'absent');
  agent.counting?.setFaults();
  // With drain its credential would unlock it again.
  await waitFor('it is back', async () => (await agent.tokenState('web')) !== 'absent');
  await assert.rejects(sign(), { code: 'LOCKED' });
  assert.equal(await agent.settled('web'), 'locked');
});

test('credential: a locked token asks under its new name', async (t) => {
  const { agent, folder, reload: change } = await site(t, { credential: true });
  const credentials = path.join(folder, 'credentials');
  await agent.daemon.stop();
  renameSync(path.join(credentials, 'keyagent.web.pin'), path.join(credentials, 'another'));
  await agent.start();
  assert.equal(await agent.settled('web'), 'locked');
  await change({ token: { credential: 'another' } });
  assert.equal(await agent.settled('web'), 'unlocked');
});
