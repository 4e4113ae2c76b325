/** Two [[token]] that name one token by different URIs: the first of them serves it, and nobody has to guess why. */
import assert from 'node:assert/strict';
import { userInfo } from 'node:os';
import { test, type TestContext } from 'node:test';
import { connectCaller } from '@keyagent/protocol';
import type { Agent } from './support/agent.js';
import { cleanupAfter } from './support/cleanup.js';
import { deploy } from './support/deployment.js';
import { waitFor } from './support/wait.js';

const keys = [{ label: 'www', type: 'EC:prime256v1' }] as const;
const rules = [{ keys: 'pkcs11:', users: [userInfo().username] }];
const said = (first: string, second: string): RegExp =>
  new RegExp(
    `${first} and ${second} name the same token \\(pkcs11:token=web;serial=\\w+\\): remove one of the`,
  );

/** An agent with the token `web`, unlocked without hands, and `again`, which nothing names yet. */
async function deployWeb(
  t: TestContext,
): Promise<{ agent: Agent; addAgain: (at: 'first' | 'last') => void }> {
  const { agent } = await deploy(cleanupAfter(t), {
    keys,
    agent: { rules, counted: true, credential: true },
  });
  const addAgain = (at: 'first' | 'last'): void => {
    agent.configure(({ token }) => {
      const again = { ...token[0], name: 'again', uri: 'pkcs11:model=SoftHSM%20v2' };
      token.splice(at === 'first' ? 0 : 1, 0, { ...again, credential: 'keyagent.web.pin' });
    });
  };
  return { agent, addAgain };
}

async function sign(agent: Agent): Promise<void> {
  const caller = await connectCaller(agent.socket);
  try {
    const message = Buffer.from('message');
    await caller.call('sign', { uri: 'pkcs11:token=web;object=www', alg: 'ecdsa-sha256', message });
  } finally {
    caller.close();
  }
}

for (const at of ['first', 'last'] as const) {
  const [first, second] = at === 'first' ? ['again', 'web'] : ['web', 'again'];
  test(`${first} comes before ${second}: it alone logs in, until it is gone from the configuration`, async (t) => {
    const { agent, addAgain } = await deployWeb(t);
    await agent.daemon.stop();
    addAgain(at);
    const before = agent.calls('C_Login');
    agent.counting?.setFaults('C_Login sleep_ms=1000');
    await agent.start();
    assert.equal(await agent.settled(second), 'failed');
    assert.equal(await agent.settled(first), 'unlocked');
    agent.counting?.setFaults();
    assert.match(await agent.mustKeyagent(['status']), said(first, second));
    const doctor = await agent.keyagent(['--config', agent.configFile, 'doctor']);
    assert.match(doctor.stdout, said(first, second));
    const unlock = await agent.keyagent(['unlock', second, '--stdin'], { input: 'whatever\n' });
    assert.notEqual(unlock.status, 0);
    assert.match(unlock.stderr, said(first, second));
    await sign(agent);
    assert.equal(agent.calls('C_Login'), before + 1);

    agent.configure(({ token }) => token.shift());
    await agent.mustKeyagent(['reload']);
    await waitFor('the other is unlocked', async () => (await agent.tokenState(second)) === 'unlocked');
    await sign(agent);
  });
}

test('a reload that adds a second [[token]] for a token that is served is refused, whichever comes first', async (t) => {
  const { agent, addAgain } = await deployWeb(t);
  for (const at of ['first', 'last'] as const) {
    addAgain(at);
    const { status, stderr } = await agent.keyagent(['reload']);
    assert.equal(status, 78, stderr);
    assert.match(stderr, said('again', 'web'));
    assert.equal(await agent.tokenState('web'), 'unlocked');
    agent.configure(({ token }) => token.splice(at === 'first' ? 0 : 1, 1));
  }
  await sign(agent);
});

test('one whose uri matches several tokens names none of them, and keeps nobody from his', async (t) => {
  const { agent } = await deploy(cleanupAfter(t), {
    keys,
    spare: true,
    agent: { rules, counted: true, credential: true },
  });
  await agent.daemon.stop();
  agent.configure(({ token }) => {
    token.unshift({
      ...token[0],
      name: 'any',
      uri: 'pkcs11:model=SoftHSM%20v2',
      credential: 'keyagent.web.pin',
    });
  });
  await agent.start();
  assert.equal(await agent.settled('web'), 'unlocked');
  assert.equal(await agent.settled('any'), 'failed');
  const status = await agent.mustKeyagent(['status']);
  assert.match(status, /^any .*2 tokens match .*add serial=/m);
  assert.doesNotMatch(status, /name the same token/);
  await sign(agent);
  await agent.mustKeyagent(['reload']);
  assert.equal(await agent.tokenState('web'), 'unlocked');
});
