/** The PIN budget on real parts: at most one C_Login with a PIN that is wrong or never confirmed, whatever happens. */
import assert from 'node:assert/strict';
import { mkdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { userInfo } from 'node:os';
import path from 'node:path';
import { test, type TestContext } from 'node:test';
import { connectCaller } from '@keyagent/protocol';
import type { Agent } from './support/agent.js';
import { cleanupAfter, type Cleanup } from './support/cleanup.js';
import { mustRun } from './support/command.js';
import { deploy } from './support/deployment.js';
import { childrenOf, scanMemory } from './support/proc.js';
import { startSessionKeyring } from './support/session-keyring.js';
import { waitFor } from './support/wait.js';

const keys = [{ label: 'www', type: 'EC:prime256v1' }] as const;
const rules = [{ keys: 'pkcs11:', users: [userInfo().username] }];
const finalTry = 'C_GetTokenInfo flags|=0x20000';

interface Budget {
  /** Not running; its token was unlocked once. */
  agent: Agent;
  credential: string;
  cleanup: Cleanup;
  folder: string;
}

async function budget(t: TestContext, more: Parameters<typeof deploy>[1]['agent'] = {}): Promise<Budget> {
  const cleanup = cleanupAfter(t);
  const { agent, folder } = await deploy(cleanup, {
    keys,
    agent: { rules, counted: true, credential: true, ...more },
  });
  await agent.daemon.stop();
  return { agent, cleanup, folder, credential: path.join(folder, 'credentials/keyagent.web.pin') };
}

interface Source {
  source: string;
  result: string;
  at?: number;
}

async function sourcesOf(agent: Agent): Promise<Source[]> {
  return (JSON.parse(await agent.mustKeyagent(['status', '--json'])) as { sources: Source[] }).sources;
}

/** Waits until a source has been asked; what it answered. */
function answer(agent: Agent, name: string): Promise<string> {
  return waitFor(`${name} was asked`, async () => {
    const source = (await sourcesOf(agent)).find((each) => each.source === name);
    return source?.at !== undefined && source.result;
  });
}

async function startAndAnswer(agent: Agent, name: string): Promise<string> {
  await agent.start();
  const said = await answer(agent, name);
  await agent.daemon.stop();
  return said;
}

test('three sources with three stale PINs cost one C_Login, also when they vanish one after another', async (t) => {
  const { agent, cleanup, folder, credential } = await budget(t, {
    tokenSettings: { unlock: ['credential', 'clevis', 'keyring', 'prompt'] },
  });
  Object.assign(agent.env, await startSessionKeyring(cleanup, folder));
  const jwe = path.join(agent.stateDir, 'web.pin.jwe');
  writeFileSync(credential, 'stale-one');
  const sealed = await mustRun('clevis', ['encrypt', 'null', '{}'], { input: 'stale-two' });
  writeFileSync(jwe, sealed.stdout, { mode: 0o400 });
  await agent.mustKeyagent(['keyring', 'set', 'web', '--stdin'], { input: 'stale-three\n', env: agent.env });

  const before = agent.calls('C_Login');
  assert.equal(await startAndAnswer(agent, 'credential'), 'the token refused its PIN');
  assert.equal(agent.calls('C_Login'), before + 1);

  rmSync(credential);
  const blocked = /the PIN from credential was refused or never confirmed; run "keyagent unlock web"/;
  assert.match(await startAndAnswer(agent, 'clevis'), blocked);
  rmSync(jwe);
  await agent.start();
  // The blocked source ends the round: later ones are not even asked.
  assert.match(await answer(agent, 'clevis'), blocked);
  assert.equal(await agent.settled('web'), 'pin-blocked');
  assert.deepEqual(
    (await sourcesOf(agent)).filter(({ at }) => at === undefined).map(({ source }) => source),
    ['keyring'],
  );
  assert.equal(agent.calls('C_Login'), before + 1);
});

test('each of three sources is asked when the ones before have nothing to give', async (t) => {
  const { agent, cleanup, folder, credential } = await budget(t, {
    tokenSettings: { unlock: ['credential', 'clevis', 'keyring', 'prompt'] },
  });
  Object.assign(agent.env, await startSessionKeyring(cleanup, folder));
  const pin = readFileSync(credential);
  await agent.mustKeyagent(['keyring', 'set', 'web', '--stdin'], { input: pin, env: agent.env });
  rmSync(credential);
  const before = agent.calls('C_Login');
  await agent.start();
  assert.equal(await answer(agent, 'keyring'), 'unlocked the token');
  assert.match(await answer(agent, 'credential'), /there is no credential keyagent\.web\.pin/);
  assert.match(await answer(agent, 'clevis'), /there is no .*web\.pin\.jwe/);
  assert.equal(agent.calls('C_Login'), before + 1);
});

test('of three hosts one tries a wrong PIN, at whichever start, and with the right one each start needs no hands', async (t) => {
  const { agent, credential } = await budget(t, { tokenSettings: { hosts: 3 } });
  const right = readFileSync(credential);
  writeFileSync(credential, 'stale-pin');
  const before = agent.calls('C_Login');
  assert.equal(await startAndAnswer(agent, 'credential'), 'the token refused its PIN');
  assert.match(await startAndAnswer(agent, 'credential'), /was refused or never confirmed/);
  assert.equal(agent.calls('C_Login'), before + 1);
  writeFileSync(credential, right);
  for (const start of [1, 2]) {
    assert.equal(await startAndAnswer(agent, 'credential'), 'unlocked the token');
    assert.equal(agent.calls('C_Login'), before + 1 + 3 * start);
  }
});

const saysLoggedIn = 'C_Login rv=0x100';

async function assertProvedNothing(agent: Agent, logins: number, pin: string): Promise<void> {
  await waitFor(
    'a host took the place of the one that said so',
    () => childrenOf(agent.daemon.pid).length === 1,
  );
  assert.equal(agent.calls('C_Login'), logins);
  for (const pid of [agent.daemon.pid, hostOf(agent)])
    assert.equal(scanMemory(pid, { pin: Buffer.from(pin) }).size, 0);
}

test('a wrong PIN from a source unlocks nothing where the module says that it is logged in already', async (t) => {
  const { agent, credential } = await budget(t);
  const wrong = 'a-pin-from-a-source';
  writeFileSync(credential, wrong);
  agent.counting?.setFaults(saysLoggedIn);
  const before = agent.calls('C_Login');
  await agent.start();
  assert.match(await answer(agent, 'credential'), /the module says that it is logged in already/);
  await waitFor('the next host gets none', async () => (await agent.tokenState('web')) === 'pin-blocked');
  await assertProvedNothing(agent, before + 1, wrong);
});

test('nor does a wrong PIN of an operator, and it is not kept', async (t) => {
  const { agent, credential } = await budget(t);
  const wrong = 'a-pin-of-an-operator';
  rmSync(credential);
  await agent.start();
  await answer(agent, 'credential');
  agent.counting?.setFaults(saysLoggedIn);
  const before = agent.calls('C_Login');
  const rests = (): number => agent.daemon.log.split('"PIN source: waits for an operator"').length;
  const restsBefore = rests();
  const { status, stderr } = await agent.keyagent(['unlock', '--stdin'], { input: wrong });
  assert.equal(status, 75, stderr);
  assert.match(stderr, /the module says that it is logged in already/);
  await waitFor('the next host gets none', () => rests() > restsBefore);
  assert.equal(await agent.tokenState('web'), 'locked');
  await assertProvedNothing(agent, before + 1, wrong);
});

test('at the final try there is no automatic C_Login; an operator may insist', async (t) => {
  const { agent, credential } = await budget(t);
  const pin = readFileSync(credential);
  agent.counting?.setFaults(finalTry);
  const before = agent.calls('C_Login');
  assert.match(
    await startAndAnswer(agent, 'credential'),
    /no automatic login: the token says user-pin-final-try/,
  );
  await agent.start();
  await answer(agent, 'credential');
  const refused = await agent.keyagent(['unlock', '--stdin'], { input: pin });
  assert.deepEqual([refused.status, refused.stderr.includes('--force')], [77, true]);
  assert.equal(agent.calls('C_Login'), before);
  const insisted = await agent.keyagent(['unlock', '--stdin', '--force'], { input: 'wrong' });
  assert.equal(insisted.stderr, 'keyagent: the token refused the PIN; one more wrong PIN locks it\n');
  await agent.mustKeyagent(['unlock', '--stdin', '--force'], { input: pin });
  assert.equal(agent.calls('C_Login'), before + 2);
});

test('another token under the same label gets no PIN without hands; an operator makes it the known one', async (t) => {
  const { agent, credential } = await budget(t);
  agent.counting?.setFaults('C_GetTokenInfo serial=OTHER');
  const before = agent.calls('C_Login');
  const said = await startAndAnswer(agent, 'credential');
  assert.match(
    said,
    /no automatic login to web: its serial is OTHER, and the token unlocked before had [0-9a-f]+;/,
  );
  assert.equal(agent.calls('C_Login'), before);

  await agent.start();
  await answer(agent, 'credential');
  assert.equal(await agent.tokenState('web'), 'pin-blocked');
  await agent.mustKeyagent(['unlock', '--stdin'], { input: readFileSync(credential) });
  await agent.daemon.stop();
  assert.equal(await startAndAnswer(agent, 'credential'), 'unlocked the token');
  assert.equal(agent.calls('C_Login'), before + 2);
});

test('one token under two names, at once and one after another, costs one C_Login for a wrong PIN', async (t) => {
  const { agent, credential, folder } = await budget(t);
  const pin = readFileSync(credential);
  for (const name of ['web', 'again', 'renamed'])
    writeFileSync(path.join(folder, `credentials/keyagent.${name}.pin`), 'stale-pin', { mode: 0o400 });
  // With an environment of its own a module may show other tokens: that this is the same one only its login tells.
  agent.configure(({ token }) => {
    const [web] = token;
    token.push({ ...web, name: 'again', env: { ...(web?.env as object), SOME: 'other' } });
  });
  const before = agent.calls('C_Login');
  await agent.start();
  const states = await Promise.all([agent.settled('web'), agent.settled('again')]);
  assert.equal(agent.calls('C_Login'), before + 1);
  assert.ok(states.includes('pin-blocked'), states.join(' '));
  const same = /names the same token \(serial \w+\), and a PIN was refused there or never confirmed; run/;
  assert.match(agent.daemon.log, same);
  await agent.daemon.stop();

  agent.configure(({ token }) => {
    token.splice(0, 2, { ...token[0], name: 'renamed' });
  });
  assert.match(await startAndAnswer(agent, 'credential'), same);
  assert.equal(agent.calls('C_Login'), before + 1);
  await agent.start();
  await answer(agent, 'credential');
  await agent.mustKeyagent(['unlock', '--stdin'], { input: pin });
  await agent.daemon.stop();
  writeFileSync(path.join(folder, 'credentials/keyagent.renamed.pin'), pin);
  assert.equal(await startAndAnswer(agent, 'credential'), 'unlocked the token');
});

test('when the record cannot be written there is no automatic C_Login, and an operator still unlocks', async (t) => {
  const { agent, credential } = await budget(t);
  // Stops root as well, unlike a mode.
  for (const file of ['pin-budget', 'serial', 'keys'])
    mkdirSync(path.join(agent.stateDir, `web.${file}.json.new`));
  const before = agent.calls('C_Login');
  assert.match(await startAndAnswer(agent, 'credential'), /web\.pin-budget\.json cannot be written/);
  assert.equal(agent.calls('C_Login'), before);
  await agent.start();
  await answer(agent, 'credential');
  await agent.mustKeyagent(['unlock', '--stdin'], { input: readFileSync(credential) });
  assert.equal(await agent.tokenState('web'), 'unlocked');
  assert.match(
    agent.daemon.log,
    /the state directory is not as it should be: the next login will need an operator/,
  );
  assert.equal(agent.calls('C_Login'), before + 1);
});

test('a damaged record forbids every token its automatic login, and says so until that is mended', async (t) => {
  const { agent, credential } = await budget(t);
  const damaged = path.join(agent.stateDir, 'gone.pin-budget.json');
  writeFileSync(damaged, '{"version":1', { mode: 0o600 });
  const before = agent.calls('C_Login');
  const advice =
    /gone\.pin-budget\.json cannot be read and may be about this token, until .* the file is removed;/;
  assert.match(await startAndAnswer(agent, 'credential'), advice);
  await agent.start();
  assert.equal(await agent.settled('web'), 'pin-blocked');
  assert.match(await agent.mustKeyagent(['status']), advice);
  assert.equal(agent.calls('C_Login'), before);

  await agent.mustKeyagent(['unlock', '--stdin'], { input: readFileSync(credential) });
  assert.match(
    agent.daemon.log,
    /gone\.pin-budget\.json cannot be read .*"the state directory is not as it should be: the next login will need an operator"/,
  );
  assert.doesNotMatch(agent.daemon.log, /cannot be written/);
  await agent.daemon.stop();
  rmSync(damaged);
  assert.equal(await startAndAnswer(agent, 'credential'), 'unlocked the token');
});

for (const victim of ['agent', 'token host'] as const) {
  test(`the ${victim} killed inside C_Login with a wrong PIN, and everything killed 20 times more: one C_Login`, async (t) => {
    const { agent, credential } = await budget(t);
    writeFileSync(credential, 'stale-pin');
    const before = agent.calls('C_Login');
    agent.counting?.setFaults('C_Login sleep_ms=60000');
    const entered = (): number => agent.counting?.sleeps().get('C_Login') ?? 0;

    await agent.start();
    await waitFor('the login is under way', () => entered() === 1);
    const host = hostOf(agent);
    process.kill(victim === 'agent' ? agent.daemon.pid : host, 'SIGKILL');
    if (victim === 'agent') await agent.daemon.ended();
    for (let round = 0; round < 20; round++) {
      if (!agent.daemon.running) await agent.start();
      await waitFor(
        'the agent has come to rest',
        async () => (await agent.tokenState('web')) === 'pin-blocked',
      );
      if (round % 2 === 0) {
        const previous = hostOf(agent);
        process.kill(previous, 'SIGKILL');
        await waitFor('the host is replaced', () =>
          childrenOf(agent.daemon.pid).some((pid) => pid !== previous),
        );
      } else {
        process.kill(agent.daemon.pid, 'SIGKILL');
        await agent.daemon.ended();
      }
    }
    assert.deepEqual([entered(), agent.calls('C_Login') - before], [1, 0]);
  });
}

test('a wrong PIN with a thousand waiting requests costs one C_Login, and each of them is answered', async (t) => {
  const { agent, credential } = await budget(t);
  writeFileSync(credential, 'stale-pin');
  agent.counting?.setFaults('C_Login sleep_ms=6000');
  const before = agent.calls('C_Login');
  await agent.start();
  await waitFor('the login is under way', () => agent.counting?.sleeps().get('C_Login') === 1);
  const clients = await Promise.all(Array.from({ length: 10 }, () => connectCaller(agent.socket)));
  t.after(() => {
    for (const client of clients) client.close();
  });
  const params = {
    uri: 'pkcs11:token=web;object=www',
    alg: 'ecdsa-sha256',
    message: Buffer.from('m'),
  } as const;
  const replies = await Promise.allSettled(
    clients.flatMap((client) => Array.from({ length: 100 }, () => client.call('sign', params))),
  );
  assert.equal(replies.length, 1000);
  const codes = new Set(replies.map((reply) => (reply.status === 'rejected' ? codeOf(reply.reason) : 'ok')));
  assert.deepEqual([...codes].sort(), ['BUSY', 'LOCKED']);
  assert.equal(agent.calls('C_Login'), before + 1);
});

function codeOf(error: unknown): unknown {
  return (error as { code?: unknown }).code;
}

/** The one token host of an agent. */
function hostOf(agent: Agent): number {
  const [host, ...others] = childrenOf(agent.daemon.pid);
  assert.ok(host !== undefined && others.length === 0);
  return host;
}
