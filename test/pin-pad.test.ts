/** A token whose PIN is typed on its reader (protected authentication path): nobody gives the agent a PIN. */
import assert from 'node:assert/strict';
import { userInfo } from 'node:os';
import { test, type TestContext } from 'node:test';
import { connectCaller, type Caller } from '@keyagent/protocol';
import type { Agent } from './support/agent.js';
import { cleanupAfter } from './support/cleanup.js';
import type { CountingModule } from './support/counting-module.js';
import { deploy } from './support/deployment.js';
import { keyagentCommand } from './support/paths.js';
import { Terminal } from './support/terminal.js';
import { waitFor } from './support/wait.js';

const keys = [
  { label: 'www', type: 'EC:prime256v1' },
  { label: 'strict', type: 'EC:prime256v1', alwaysAuthenticate: true },
] as const;
const rules = [{ keys: 'pkcs11:', users: [userInfo().username] }];
const reader = 'C_GetTokenInfo flags|=0x100';
/** A person types for five seconds. */
const typed = [reader, 'C_Login require_null=1 sleep_ms=5000'];
const cancelled = [reader, 'C_Login rv=0x50'];
const refused = [reader, 'C_Login rv=0xa0'];
const pin = '7412-pin';

interface Site {
  /** Not running; its token was unlocked once. */
  agent: Agent;
  token: CountingModule;
  connect(): Promise<Caller>;
}

async function site(
  t: TestContext,
  unlock: readonly string[],
  settings: Record<string, unknown> = {},
): Promise<Site> {
  const { agent } = await deploy(cleanupAfter(t), {
    keys,
    pin,
    spare: true,
    agent: { rules, counted: 'web', env: { KEYAGENT_TEST_PIN: pin }, tokenSettings: { unlock, ...settings } },
  });
  await agent.daemon.stop();
  assert.ok(agent.counting !== undefined);
  const connect = async (): Promise<Caller> => {
    const caller = await connectCaller(agent.socket);
    t.after(() => {
      caller.close();
    });
    return caller;
  };
  return { agent, token: agent.counting, connect };
}

function asked(token: CountingModule): number {
  return token.sleeps().get('C_Login') ?? 0;
}

async function signWithSpare(caller: Caller): Promise<void> {
  const uri = 'pkcs11:token=spare;object=www';
  await caller.call('sign', { uri, alg: 'ecdsa-sha256', message: Buffer.from('m') });
}

async function becomes(agent: Agent, state: string): Promise<void> {
  await waitFor(`the token is ${state}`, async () => (await agent.tokenState('web')) === state);
}

test('source card logs in by the reader when the token appears, and holds up nobody meanwhile', async (t) => {
  const { agent, token, connect } = await site(t, ['card', 'prompt']);
  const before = asked(token);
  token.removeToken(...typed);
  await agent.start();
  await agent.mustKeyagent(['unlock', 'spare', '--stdin'], { input: '9508-pin' });
  await becomes(agent, 'absent');
  const caller = await connect();
  await signWithSpare(caller);

  token.setFaults(...typed);
  await waitFor('the reader asks', () => asked(token) === before + 1);
  const { tokens } = await caller.call('status', {});
  assert.deepEqual(
    tokens.map(({ state }) => state),
    ['unlocking', 'unlocked'],
  );
  assert.match(await agent.mustKeyagent(['status']), /^web +unlocking .*enter the PIN on the reader$/m);
  await signWithSpare(caller);
  assert.equal(await agent.tokenState('web'), 'unlocking');
  assert.match(agent.daemon.log, /enter the PIN on the reader/);

  await becomes(agent, 'unlocked');
  assert.match(await agent.mustKeyagent(['status']), /^web +card +\S+Z +unlocked the token$/m);
  assert.equal(asked(token), before + 1);
});

for (const [how, faults, says] of [
  ['cancelled', cancelled, /it was cancelled on the token or its reader/],
  ['refused', refused, /the token refused the PIN/],
] as const) {
  test(`an entry that was ${how} is asked for again by an operator only, whatever restarts`, async (t) => {
    const { agent, token } = await site(t, ['card', 'prompt']);
    token.setFaults(...faults);
    const before = agent.calls('C_Login');
    await agent.start();
    await becomes(agent, 'locked');
    assert.match(await agent.mustKeyagent(['status']), says);
    for (let i = 0; i < 3; i++) {
      await agent.daemon.stop();
      await agent.start();
      await becomes(agent, 'pin-blocked');
    }
    token.removeToken(reader);
    await becomes(agent, 'absent');
    token.setFaults(...typed);
    await becomes(agent, 'pin-blocked');
    assert.equal(agent.calls('C_Login'), before + 1);

    await agent.mustKeyagent(['unlock', 'web', '--source', 'card']);
    assert.equal(await agent.tokenState('web'), 'unlocked');
    await agent.daemon.stop();
    await agent.start();
    await becomes(agent, 'unlocked');
  });
}

test('another serial is not logged in to by the reader', async (t) => {
  const { agent, token } = await site(t, ['card', 'prompt']);
  token.setFaults('C_GetTokenInfo flags|=0x100 serial=OTHER');
  const before = agent.calls('C_Login');
  await agent.start();
  await becomes(agent, 'pin-blocked');
  assert.equal(agent.calls('C_Login'), before);
});

test('an operator is told to use the reader before the call returns; without the source card nobody else is asked', async (t) => {
  const cleanup = cleanupAfter(t);
  const { agent, token } = await site(t, ['prompt']);
  token.setFaults(...typed);
  const before = asked(token);
  await agent.start();
  assert.equal(await agent.settled('web'), 'locked');
  assert.equal(asked(token), before);
  const env = { KEYAGENT_SOCK: agent.socket, KEYAGENT_CONTROL_SOCK: agent.controlSocket };
  const terminal = new Terminal(cleanup, `${keyagentCommand} unlock web`, env);
  await terminal.shows(/enter the PIN of web on the reader/);
  assert.equal(terminal.screen.includes('unlocked'), false);
  assert.equal(await terminal.end(), 0);
  assert.match(terminal.screen, /web unlocked/);
  assert.equal(asked(token), before + 1);
});

for (const retain of [true, false]) {
  test(`nobody is asked at the reader for one use of a key (retain_pin = ${retain}): it is refused, others work`, async (t) => {
    const { agent, token, connect } = await site(t, ['card', 'prompt'], { retain_pin: retain });
    token.setFaults(reader, 'C_Login require_null=1');
    await agent.start();
    await becomes(agent, 'unlocked');
    const caller = await connect();
    const sign = (label: string): Promise<unknown> =>
      caller.call('sign', {
        uri: `pkcs11:token=web;object=${label}`,
        alg: 'ecdsa-sha256',
        message: Buffer.from('m'),
      });
    const before = agent.calls('C_Login');
    await assert.rejects(sign('strict'), {
      code: 'MECHANISM',
      message:
        /at every use \(CKA_ALWAYS_AUTHENTICATE\), and one that is entered on the reader cannot be kept/,
    });
    await sign('www');
    assert.equal(agent.calls('C_Login'), before);
  });
}
