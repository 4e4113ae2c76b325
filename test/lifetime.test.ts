/** How long a login lasts, what renews it, and that one that takes long holds up nobody else. */
import assert from 'node:assert/strict';
import { mkdirSync } from 'node:fs';
import { userInfo } from 'node:os';
import path from 'node:path';
import { test, type TestContext } from 'node:test';
import { connectCaller, type Caller, type Result } from '@keyagent/protocol';
import type { Agent } from './support/agent.js';
import { cleanupAfter } from './support/cleanup.js';
import { deploy, type DeploymentSpec } from './support/deployment.js';
import { childrenOf } from './support/proc.js';
import { waitFor } from './support/wait.js';

const keys = [{ label: 'www', type: 'EC:prime256v1' }] as const;
const rules = [{ keys: 'pkcs11:', users: [userInfo().username] }];

interface Site {
  agent: Agent;
  pin: string;
  caller: Caller;
  sign(token?: string): Promise<unknown>;
}

async function site(t: TestContext, spec: Partial<DeploymentSpec> = {}): Promise<Site> {
  const { agent, token } = await deploy(cleanupAfter(t), {
    keys,
    ...spec,
    agent: { rules, counted: true, ...spec.agent },
  });
  const caller = await connectCaller(agent.socket);
  t.after(() => {
    caller.close();
  });
  const sign = (label = 'web'): Promise<unknown> =>
    caller.call('sign', {
      uri: `pkcs11:token=${label};object=www`,
      alg: 'ecdsa-sha256',
      message: Buffer.from('m'),
    });
  return { agent, pin: token.pin, caller, sign };
}

type Status = Result<'status'>['tokens'][number];

async function status(agent: Agent): Promise<Status> {
  const { tokens } = await agent.ask('status', {});
  const [web] = tokens;
  assert.ok(web !== undefined);
  return web;
}

async function becomes(agent: Agent, state: string): Promise<void> {
  await waitFor(`the token is ${state}`, async () => (await agent.tokenState('web')) === state);
}

async function replaceHost(agent: Agent): Promise<void> {
  const logins = agent.calls('C_Login');
  const [host = NaN] = childrenOf(agent.daemon.pid);
  process.kill(host, 'SIGKILL');
  await waitFor('the new host is logged in', () => agent.calls('C_Login') === logins + 1);
  await becomes(agent, 'unlocked');
}

for (const retain of [true, false]) {
  test(`a host restart does not prolong a login (retain_pin = ${retain}), and status says until when it lasts`, async (t) => {
    const { agent, pin } = await site(t, {
      agent: { credential: true, tokenSettings: { retain_pin: retain, lock_after: '2h' } },
    });
    await agent.mustKeyagent(['lock']);
    await agent.mustKeyagent(['unlock', '--stdin', '--for', '1h'], { input: pin });
    const before = (await status(agent)).locks_at;
    assert.ok(before !== undefined && Math.abs(before - Date.now() / 1000 - 3600) < 60);
    assert.match(await agent.mustKeyagent(['status']), /; locks at \d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ$/m);
    await replaceHost(agent);
    await agent.mustKeyagent(['reload']);
    const after = (await status(agent)).locks_at;
    assert.ok(after !== undefined && Math.abs(after - before) <= 1, `${before} and ${after}`);
  });
}

test('--for shortens the time of a token that is unlocked already, and prolongs it for nobody', async (t) => {
  const { agent } = await site(t, { agent: { tokenSettings: { lock_after: '1h' } } });
  const before = (await status(agent)).locks_at ?? NaN;
  await agent.mustKeyagent(['unlock', '--for', '2h']);
  assert.ok(Math.abs(((await status(agent)).locks_at ?? NaN) - before) <= 1);
  await agent.mustKeyagent(['unlock', '--for', '200ms']);
  await becomes(agent, 'locked');
});

test('a token that nobody uses locks, uses keep it unlocked, and its sources are not asked again', async (t) => {
  const { agent, caller, sign } = await site(t, {
    agent: { credential: true, tokenSettings: { lock_idle: '3s' } },
  });
  await agent.settled('web');
  const logins = agent.calls('C_Login');
  const begin = performance.now();
  // Longer than it may be idle.
  while (performance.now() - begin < 4500) {
    await sign();
    await caller.call('status', {});
  }
  assert.ok((await status(agent)).locks_at !== undefined);
  await becomes(agent, 'locked');
  const { detail, locks_at } = await status(agent);
  assert.match(detail ?? '', /^nobody used it for a while; run "keyagent unlock web"$/);
  assert.equal(locks_at, undefined);
  await assert.rejects(sign(), { code: 'LOCKED' });
  const waits = (): number => agent.daemon.log.split('waits for an operator').length;
  const before = waits();
  const [host = NaN] = childrenOf(agent.daemon.pid);
  process.kill(host, 'SIGKILL');
  await waitFor('after a new host too an operator is waited for', () => waits() > before);
  assert.equal(await agent.tokenState('web'), 'locked');
  assert.equal(agent.calls('C_Login'), logins);
});

test('an unlock lasts as long as it was to last, also where the state directory cannot take note of it', async (t) => {
  const { agent, pin } = await site(t, { spare: true, agent: { credential: true } });
  await agent.mustKeyagent(['lock', 'web']);
  await agent.mustKeyagent(['lock', 'spare']);
  // Stops root as well, unlike a mode.
  mkdirSync(path.join(agent.stateDir, 'revoked.json.new'));
  await agent.mustKeyagent(['unlock', 'web', '--stdin', '--for', '1h'], { input: pin });
  const { state, locks_at } = await status(agent);
  assert.deepEqual([state, locks_at !== undefined], ['unlocked', true]);
  assert.match(agent.daemon.log, /is not as it should be: the next login will need an operator/);
  await agent.daemon.stop();
  await agent.start();
  assert.equal(await agent.settled('web'), 'locked');
});

test('an unlock lasts as long as it was to last, also where the keys cannot be read at first', async (t) => {
  const { agent, pin, sign } = await site(t);
  await agent.mustKeyagent(['lock']);
  agent.counting?.setFaults('C_FindObjectsInit rv=0x30');
  await agent.mustKeyagent(['unlock', '--stdin', '--for', '1h'], { input: pin });
  const { state, locks_at } = await status(agent);
  assert.deepEqual([state, locks_at !== undefined], ['unlocked', true]);
  assert.match(agent.daemon.log, /logged in, but the keys cannot be read/);
  agent.counting?.setFaults();
  await waitFor('it signs once they can be read', () =>
    sign().then(
      () => true,
      () => false,
    ),
  );
});

test('an unlock that fails at the second host leaves none logged in', async (t) => {
  const { agent, pin, sign } = await site(t, { agent: { tokenSettings: { hosts: 2 } } });
  await agent.mustKeyagent(['lock']);
  const before = agent.calls('C_Login');
  const asleep = agent.counting?.sleeps().get('C_Login') ?? 0;
  agent.counting?.setFaults('C_Login sleep_ms=1500');
  const unlock = agent.keyagent(['unlock', '--stdin', '--for', '1h'], { input: pin });
  await waitFor('the first is under way', () => agent.counting?.sleeps().get('C_Login') === asleep + 1);
  agent.counting?.setFaults('C_Login rv=0x30');
  assert.equal((await unlock).status, 75);
  assert.equal(agent.calls('C_Login'), before + 2);
  assert.equal((await status(agent)).state, 'locked');
  await assert.rejects(sign(), { code: 'LOCKED' });
});

test('without retain_pin the sources are asked again after a host restart', async (t) => {
  const { agent, sign } = await site(t, {
    agent: { credential: true, tokenSettings: { retain_pin: false } },
  });
  await agent.settled('web');
  await replaceHost(agent);
  await sign();
});

test('while a login takes 30 s, status and the other token answer', async (t) => {
  const { agent, pin, caller, sign } = await site(t, { spare: true, agent: { counted: 'web' } });
  await agent.mustKeyagent(['lock', 'web']);
  agent.counting?.setFaults('C_Login sleep_ms=30000');
  let ended = false;
  const unlock = agent.keyagent(['unlock', 'web', '--stdin'], { input: pin }).finally(() => (ended = true));
  await waitFor('the login is under way', () => agent.counting?.sleeps().get('C_Login') === 1);
  const took: number[] = [];
  for (let i = 0; i < 50; i++) {
    const begin = performance.now();
    const { tokens } = await caller.call('status', {});
    assert.deepEqual(
      tokens.map(({ state }) => state),
      ['unlocking', 'unlocked'],
    );
    await sign('spare');
    took.push(performance.now() - begin);
  }
  took.sort((a, b) => a - b);
  t.diagnostic(
    `status and a signature: median ${took[25]?.toFixed(1)} ms, longest ${took[49]?.toFixed(1)} ms`,
  );
  assert.equal((await status(agent)).detail, 'an operator is logging in');
  assert.equal(ended, false);
  await agent.daemon.stop();
  assert.notEqual((await unlock).status, 0);
});
