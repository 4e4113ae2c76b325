/** Unlocking a real token: without hands where a source allows it, never twice with a PIN that was refused. */
import assert from 'node:assert/strict';
import { readFileSync, writeFileSync } from 'node:fs';
import { userInfo } from 'node:os';
import path from 'node:path';
import { test, type TestContext } from 'node:test';
import { connectCaller } from '@keyagent/protocol';
import type { Agent } from './support/agent.js';
import { cleanupAfter } from './support/cleanup.js';
import { deploy, type Deployment } from './support/deployment.js';
import { waitFor } from './support/wait.js';

const keys = [{ label: 'www', type: 'EC:prime256v1' }] as const;
const rules = [{ keys: 'pkcs11:', users: [userInfo().username] }];

function deployCounted(
  t: TestContext,
  spec: Parameters<typeof deploy>[1]['agent'] = {},
): Promise<Deployment> {
  return deploy(cleanupAfter(t), { keys, agent: { rules, counted: true, ...spec } });
}

async function assertSigns(agent: Agent): Promise<void> {
  const args = ['sign', '--key', 'pkcs11:token=web;object=www', '--alg', 'ecdsa-sha256'];
  const { status, stderr } = await agent.keyagent(args, { input: 'message' });
  assert.equal(status, 0, stderr);
}

async function restart(agent: Agent): Promise<void> {
  await agent.daemon.stop();
  await agent.start();
}

function credentialFile(folder: string): string {
  return path.join(folder, 'credentials/keyagent.web.pin');
}

test('a credential unlocks the token at every start, with one C_Login each', async (t) => {
  const { agent } = await deployCounted(t, { credential: true });
  assert.equal(await agent.settled('web'), 'unlocked');
  await assertSigns(agent);
  const before = agent.calls('C_Login');
  await restart(agent);
  assert.equal(await agent.settled('web'), 'unlocked');
  await assertSigns(agent);
  assert.equal(agent.calls('C_Login'), before + 1);
});

test('a wrong PIN in a credential costs one C_Login, however often the agent is started', async (t) => {
  const { agent, folder } = await deployCounted(t, { credential: true });
  await agent.settled('web');
  await agent.daemon.stop();
  const right = readFileSync(credentialFile(folder));
  writeFileSync(credentialFile(folder), 'stale-pin');
  const before = agent.calls('C_Login');
  for (let i = 0; i < 5; i++) {
    await agent.start();
    await waitFor('the source has answered', async () => {
      const status = await agent.mustKeyagent(['status', '--json']);
      return status.includes('"source_result"');
    });
    assert.notEqual(await agent.settled('web'), 'unlocked');
    await agent.daemon.stop();
  }
  assert.equal(agent.calls('C_Login'), before + 1);

  // A changed value is tried once; this one is right.
  writeFileSync(credentialFile(folder), right);
  await agent.start();
  assert.equal(await agent.settled('web'), 'unlocked');
  assert.equal(agent.calls('C_Login'), before + 2);
});

test("an operator's wrong PIN is said once, and the right one unlocks", async (t) => {
  const { agent, token } = await deployCounted(t);
  await agent.mustKeyagent(['lock']);
  const before = agent.calls('C_Login');
  const wrong = await agent.keyagent(['unlock', '--stdin'], { input: 'not-the-pin\n' });
  assert.equal(wrong.status, 77);
  const left = 'it counts wrong PINs, and few tries are left';
  assert.equal(wrong.stderr, `keyagent: the token refused the PIN; ${left}\n`);
  assert.equal(agent.calls('C_Login'), before + 1);
  await agent.mustKeyagent(['unlock', '--stdin'], { input: `${token.pin}\n` });
  await assertSigns(agent);
  const said = readFileSync(agent.auditFile, 'utf8') + agent.daemon.log;
  assert.equal(said.includes(token.pin) || said.includes('not-the-pin'), false);
});

test('a wrong PIN for an unlocked token is not looked at and changes nothing', async (t) => {
  const { agent } = await deployCounted(t);
  const before = agent.calls('C_Login');
  const { stdout, status } = await agent.keyagent(['unlock', '--stdin'], { input: 'not-the-pin\n' });
  assert.equal(status, 0);
  assert.match(stdout, /already/);
  assert.equal(agent.calls('C_Login'), before);
  await assertSigns(agent);
});

test('unlocks that come at the same time do one login', async (t) => {
  const { agent, token } = await deployCounted(t);
  await agent.mustKeyagent(['lock']);
  const before = agent.calls('C_Login');
  const input = `${token.pin}\n`;
  const results = await Promise.all([1, 2, 3, 4].map(() => agent.keyagent(['unlock', '--stdin'], { input })));
  assert.deepEqual(
    results.map(({ status }) => status),
    [0, 0, 0, 0],
  );
  assert.equal(agent.calls('C_Login'), before + 1);
});

test('a token unlocked for a while locks itself again and says so to who asked to be told', async (t) => {
  const { agent, token } = await deployCounted(t);
  await agent.mustKeyagent(['lock']);
  const watcher = await connectCaller(agent.socket, { notify: true });
  t.after(() => {
    watcher.close();
  });
  const states: string[] = [];
  const locked = new Promise<void>((resolve) => {
    watcher.on('notice', (notice) => {
      if (notice.method === 'state') states.push(notice.params.state);
      if (states.at(-1) === 'locked' && states.includes('unlocked')) resolve();
    });
  });
  await agent.mustKeyagent(['unlock', '--stdin', '--for', '300ms'], { input: `${token.pin}\n` });
  await locked;
  assert.deepEqual(states, ['unlocking', 'unlocked', 'locked']);
  const args = ['sign', '--key', 'pkcs11:object=www', '--alg', 'ecdsa-sha256'];
  assert.equal((await agent.keyagent(args, { input: 'm' })).status, 75);
});

test('a token host that is killed is replaced and logged in again without hands, and no request fails', async (t) => {
  const { agent } = await deployCounted(t);
  const before = agent.calls('C_Login');
  const client = await connectCaller(agent.socket);
  t.after(() => {
    client.close();
  });
  const params = { uri: 'pkcs11:object=www', alg: 'ecdsa-sha256', message: Buffer.from('m') } as const;
  for (let round = 1; round <= 3; round++) {
    process.kill(hostOf(agent), 'SIGKILL');
    const replies = await Promise.all(Array.from({ length: 20 }, () => client.call('sign', params)));
    assert.equal(replies.length, 20);
    assert.equal(agent.calls('C_Login'), before + round);
  }
});

/** The one token host of an agent. */
function hostOf(agent: Agent): number {
  const children = readFileSync(
    `/proc/${String(agent.daemon.pid)}/task/${String(agent.daemon.pid)}/children`,
    'utf8',
  );
  const [host] = children.trim().split(' ').map(Number);
  assert.ok(host !== undefined && host > 0, children);
  return host;
}

test('an operation that waits in the host for a session has its time after that, and the host is not taken for hung', async (t) => {
  const { agent } = await deploy(cleanupAfter(t), {
    keys: [{ label: 'www', type: 'rsa:2048' }],
    agent: {
      rules,
      counted: true,
      tokenSettings: { sessions: 4 },
      // An operation of 9 s hangs; the fifth of these is over after 12.
      agentSettings: { request_timeout_ms: 8000 },
    },
  });
  const host = hostOf(agent);
  const [counting, before] = [agent.counting, agent.calls('C_Sign')];
  assert.ok(counting !== undefined);
  counting.setFaults('C_Sign sleep_ms=6000');
  const client = await connectCaller(agent.socket);
  t.after(() => {
    client.close();
  });
  const params = { uri: 'pkcs11:object=www', alg: 'rsa-pss-sha256', message: Buffer.from('m') } as const;
  const replies = await Promise.allSettled(Array.from({ length: 5 }, () => client.call('sign', params)));
  assert.deepEqual(
    replies.map(({ status }) => status).sort(),
    ['fulfilled', 'fulfilled', 'fulfilled', 'fulfilled', 'rejected'],
    'the fifth is not waited for',
  );
  await waitFor('the token did it all the same', () => agent.calls('C_Sign') >= before + 5);
  counting.setFaults();
  await client.call('sign', params);
  assert.equal(hostOf(agent), host);
});

test('without retain_pin a killed host leaves the token locked', async (t) => {
  const { agent } = await deployCounted(t, { tokenSettings: { retain_pin: false } });
  process.kill(hostOf(agent), 'SIGKILL');
  await waitFor('the agent noticed', async () => (await agent.tokenState('web')) === 'locked');
  const args = ['sign', '--key', 'pkcs11:object=www', '--alg', 'ecdsa-sha256'];
  assert.equal((await agent.keyagent(args, { input: 'm' })).status, 75);
});

test('several hosts of a token log in once each, and one that dies is not missed', async (t) => {
  const { agent } = await deployCounted(t, { tokenSettings: { hosts: 3 } });
  assert.equal(agent.calls('C_Login'), 3);
  process.kill(hostOf(agent), 'SIGKILL');
  for (let i = 0; i < 10; i++) await assertSigns(agent);
  await waitFor('the third host is back', () => agent.calls('C_Login') === 4);
  await assertSigns(agent);
});
