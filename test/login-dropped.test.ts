/** A token that drops its login by itself, as one does that was reset: nobody else is logged out, and no operator is needed. */
import assert from 'node:assert/strict';
import { userInfo } from 'node:os';
import { test } from 'node:test';
import { connectCaller, type Caller } from '@keyagent/protocol';
import { cleanupAfter, type Cleanup } from './support/cleanup.js';
import { deploy } from './support/deployment.js';
import type { Agent } from './support/agent.js';
import { waitFor } from './support/wait.js';

const keys = [{ label: 'www', type: 'EC:prime256v1' }] as const;
const rules = [{ keys: 'pkcs11:', users: [userInfo().username] }];

async function callerOf(cleanup: Cleanup, { socket }: Agent): Promise<Caller> {
  const caller = await connectCaller(socket);
  cleanup.after(() => {
    caller.close();
  });
  return caller;
}

async function sign(caller: Caller): Promise<number> {
  const message = Buffer.from('m');
  const uri = 'pkcs11:token=web;object=www';
  return (await caller.call('sign', { uri, alg: 'ecdsa-sha256', message })).signature.length;
}

test('a login that goes while the keys are read after it ends nothing: the first signature finds out and is held', async (t) => {
  const cleanup = cleanupAfter(t);
  const { agent } = await deploy(cleanup, { keys, agent: { rules, counted: true, credential: true } });
  await agent.daemon.stop();
  // CKR_USER_NOT_LOGGED_IN for the signature that proves the key.
  agent.counting?.setFaults('C_Sign rv=0x101 count=1');
  await agent.start();
  assert.equal(await agent.settled('web'), 'unlocked');
  const caller = await callerOf(cleanup, agent);
  const length = await waitFor('a signature', () => sign(caller).catch(() => undefined));
  assert.ok(length >= 68);
});

test('of two hosts one loses its login: the request runs on the other, and the first is logged in again', async (t) => {
  const cleanup = cleanupAfter(t);
  const { agent } = await deploy(cleanup, {
    keys,
    agent: { rules, counted: true, credential: true, tokenSettings: { hosts: 2 } },
  });
  const caller = await callerOf(cleanup, agent);
  const logins = agent.calls('C_Login');
  agent.counting?.setFaults('C_SignInit close_all=1 count=1');
  for (let i = 0; i < 4; i++) assert.ok((await sign(caller)) >= 68);
  // Each host, since each is told once to drop it.
  await waitFor('another login', () => agent.calls('C_Login') > logins);
  assert.equal(await agent.settled('web'), 'unlocked');
});
