/** `lock` and `stop` hold, whatever login is under way, whatever hangs, whatever crashes meanwhile. */
import assert from 'node:assert/strict';
import { mkdirSync, readFileSync } from 'node:fs';
import { userInfo } from 'node:os';
import path from 'node:path';
import { test, type TestContext } from 'node:test';
import { connectCaller } from '@keyagent/protocol';
import type { Agent } from './support/agent.js';
import { cleanupAfter } from './support/cleanup.js';
import { CountingModule } from './support/counting-module.js';
import { deploy, type Deployment } from './support/deployment.js';
import { tcpSockets } from './support/proc.js';
import { waitFor } from './support/wait.js';

const keys = [{ label: 'www', type: 'EC:prime256v1' }] as const;

/** An unlocked agent whose module can be slowed down, and whose credential would unlock it without hands. */
async function deploySlow(t: TestContext, tokenSettings: Record<string, unknown> = {}): Promise<Deployment> {
  const deployment = await deploy(cleanupAfter(t), {
    keys,
    agent: { counted: true, credential: true, tokenSettings },
  });
  assert.equal(await deployment.agent.settled('web'), 'unlocked');
  return deployment;
}

function moduleOf({ counting }: Agent): CountingModule {
  assert.ok(counting !== undefined);
  return counting;
}

/** Calls that fell asleep in the module so far. */
function sleeps(agent: Agent, name: string): number {
  return moduleOf(agent).sleeps().get(name) ?? 0;
}

function hostOf({ daemon }: Agent): number {
  const children = readFileSync(`/proc/${daemon.pid}/task/${daemon.pid}/children`, 'utf8');
  return Number(children.trim().split(' ')[0]);
}

/** How many keys the cache in the state directory holds. */
function cachedKeys(agent: Agent): number {
  const cache = readFileSync(path.join(agent.stateDir, 'web.keys.json'), 'utf8');
  return (JSON.parse(cache) as { keys: unknown[] }).keys.length;
}

async function assertStaysLocked(agent: Agent): Promise<void> {
  assert.equal(await agent.settled('web'), 'locked');
  const logins = agent.calls('C_Login');
  await agent.daemon.stop();
  await agent.start();
  assert.equal(await agent.settled('web'), 'locked');
  assert.equal(agent.calls('C_Login'), logins);
  assert.equal(cachedKeys(agent), 1);
}

for (const hosts of [1, 2]) {
  test(`a lock during an operator's C_Login, the last of ${hosts}, wins: the login does not stand`, async (t) => {
    const { agent, token } = await deploySlow(t, { hosts });
    await agent.mustKeyagent(['lock']);
    moduleOf(agent).setFaults(`C_Login sleep_ms=${4000 / hosts}`);
    const before = sleeps(agent, 'C_Login');
    const unlock = agent.keyagent(['unlock', '--stdin'], { input: `${token.pin}\n` });
    await waitFor('C_Login is under way', () => sleeps(agent, 'C_Login') === before + hosts);
    await agent.ask('lock', {});
    assert.notEqual((await unlock).status, 0);
    assert.equal(await agent.tokenState('web'), 'locked');
    await assertStaysLocked(agent);
  });
}

test('a lock during the automatic login after a host restart wins', async (t) => {
  const { agent } = await deploySlow(t);
  for (const slow of ['C_GetTokenInfo sleep_ms=300', 'C_Login sleep_ms=500']) {
    const [name = ''] = slow.split(' ');
    const before = sleeps(agent, name);
    moduleOf(agent).setFaults(slow);
    process.kill(hostOf(agent), 'SIGKILL');
    await waitFor(`${name} is under way`, () => sleeps(agent, name) > before);
    await agent.ask('lock', {});
    moduleOf(agent).setFaults();
    await assertStaysLocked(agent);
    await agent.unlock();
  }
});

test('an unlock that was asked for before a lock does not undo it', async (t) => {
  const { agent, token } = await deploySlow(t);
  await agent.mustKeyagent(['lock']);
  const host = hostOf(agent);
  process.kill(host, 'SIGSTOP');
  const unlock = agent.keyagent(['unlock', '--stdin'], { input: `${token.pin}\n` });
  await waitFor('the unlock has arrived', async () => (await operators(agent)) > 1);
  const lock = agent.keyagent(['lock']);
  await waitFor('the lock has arrived', async () => (await operators(agent)) > 2);
  process.kill(host, 'SIGCONT');
  assert.equal((await lock).status, 0);
  assert.notEqual((await unlock).status, 0);
  await assertStaysLocked(agent);
});

/** Connections to the control socket, this question's own included. */
async function operators(agent: Agent): Promise<number> {
  const caller = await connectCaller(agent.controlSocket);
  try {
    const { sessions } = await caller.call('sessions', {});
    return sessions.filter(({ in_flight }) => in_flight > 0).length;
  } finally {
    caller.close();
  }
}

test('a lock is remembered before a token that hangs has answered', async (t) => {
  const { agent } = await deploySlow(t);
  const host = hostOf(agent);
  process.kill(host, 'SIGSTOP');
  const lock = agent.keyagent(['lock']);
  await waitFor('the lock has arrived', async () => (await operators(agent)) > 1);
  agent.daemon.signal('SIGKILL');
  await agent.daemon.ended();
  process.kill(host, 'SIGKILL');
  assert.notEqual((await lock).status, 0);
  await agent.start();
  assert.equal(await agent.settled('web'), 'locked');
});

test('a stop during C_Login is remembered, and the login does not undo it', async (t) => {
  const { agent, token } = await deploySlow(t);
  await agent.mustKeyagent(['lock']);
  moduleOf(agent).setFaults('C_Login sleep_ms=30000');
  const before = sleeps(agent, 'C_Login');
  const unlock = agent.keyagent(['unlock', '--stdin'], { input: `${token.pin}\n` });
  await waitFor('C_Login is under way', () => sleeps(agent, 'C_Login') > before);
  await agent.mustKeyagent(['stop']);
  assert.notEqual((await unlock).status, 0);
  await agent.daemon.ended();
  moduleOf(agent).setFaults();
  await agent.start();
  assert.equal(await agent.settled('web'), 'locked');
});

test('SIGTERM during a login lets it come to its end: the next start needs no hands', async (t) => {
  const { agent } = await deploySlow(t);
  await agent.daemon.stop();
  moduleOf(agent).setFaults('C_Login sleep_ms=1000');
  const before = sleeps(agent, 'C_Login');
  await agent.start();
  await waitFor('C_Login is under way', () => sleeps(agent, 'C_Login') > before);
  await agent.daemon.stop();
  moduleOf(agent).setFaults();
  await agent.start();
  assert.equal(await agent.settled('web'), 'unlocked');
});

test('a token that comes while the agent stops is not logged in: that would be cut off', async (t) => {
  const { agent, folder, hsm } = await deploy(cleanupAfter(t), {
    keys,
    spare: true,
    agent: {
      credential: true,
      counted: 'web',
      rules: [{ keys: 'pkcs11:', users: [userInfo().username] }],
    },
  });
  await agent.daemon.stop();
  const own = path.join(folder, 'spare');
  mkdirSync(own);
  const spare = new CountingModule(own, hsm);
  agent.configure(({ token }) => Object.assign(token[1] ?? {}, spare.tokenSettings));
  spare.removeToken();
  moduleOf(agent).setFaults('C_Sign sleep_ms=1000');
  await agent.start();
  assert.deepEqual([await agent.settled('web'), await agent.tokenState('spare')], ['unlocked', 'absent']);
  const before = sleeps(agent, 'C_Sign');
  const signed = agent.keyagent(['sign', '--key', 'pkcs11:token=web;object=www', '--alg', 'ecdsa-sha256'], {
    input: 'message',
  });
  await waitFor('a signature is under way', () => sleeps(agent, 'C_Sign') > before);
  const stops = (): number => agent.daemon.log.split('stopping: SIGTERM').length;
  const earlier = stops();
  agent.daemon.signal('SIGTERM');
  await waitFor('the agent stops', () => stops() > earlier);
  spare.setFaults('C_Login sleep_ms=30000');
  assert.equal((await signed).status, 0);
  await agent.daemon.ended();
  assert.equal(spare.sleeps().get('C_Login'), undefined);
  spare.setFaults();
  await agent.start();
  assert.equal(await agent.settled('spare'), 'unlocked');
});

test('two locks at once and a lock under load leave one healthy host', async (t) => {
  const { agent } = await deploySlow(t);
  const host = hostOf(agent);
  await Promise.all([agent.mustKeyagent(['lock']), agent.mustKeyagent(['lock'])]);
  assert.equal(hostOf(agent), host);
  await agent.unlock();
  assert.equal(await agent.settled('web'), 'unlocked');
});

test('a host that hangs is killed at its deadline; status and the other token answer meanwhile', async (t) => {
  const deployment = await deploy(cleanupAfter(t), {
    keys,
    spare: true,
    agent: {
      rules: [{ keys: 'pkcs11:', users: ['root', 'www-data'] }],
    },
  });
  const { agent } = deployment;
  await agent.setRequestTimeout(1500);
  const caller = await connectCaller(agent.socket);
  t.after(() => {
    caller.close();
  });
  const sign = (token: string): Promise<unknown> =>
    caller.call('sign', {
      uri: `pkcs11:token=${token};object=www`,
      alg: 'ecdsa-sha256',
      message: Buffer.from('m'),
    });
  await sign('web');
  process.kill(hostOf(agent), 'SIGSTOP');
  const hung = assert.rejects(sign('web'), { code: 'TIMEOUT' });
  let ended = false;
  void hung.then(() => (ended = true));
  await caller.call('status', {});
  await sign('spare');
  assert.equal(ended, false, 'status and the other token did not wait for the one that hangs');
  await hung;
  await waitFor('web signs again', () =>
    sign('web').then(
      () => true,
      () => false,
    ),
  );
});

test('SIGUSR1 opens no inspector, and neither agent nor host leaves a core dump', async (t) => {
  const { agent } = await deploySlow(t);
  const pids = [agent.daemon.pid, hostOf(agent)];
  for (const pid of pids) process.kill(pid, 'SIGUSR1');
  await agent.mustKeyagent(['status']);
  assert.equal(agent.daemon.log.includes('Debugger listening'), false);
  for (const pid of pids) {
    assert.deepEqual(tcpSockets(pid), []);
    assert.match(readFileSync(`/proc/${pid}/limits`, 'utf8'), /^Max core file size +0 +0 /m);
  }
});

test('SIGTERM right after the sockets answer ends the agent in order', async (t) => {
  const { agent } = await deploySlow(t);
  await agent.daemon.stop();
  for (let i = 0; i < 3; i++) {
    await agent.start();
    agent.daemon.signal('SIGTERM');
    assert.equal(await agent.daemon.ended(), 0);
  }
});
