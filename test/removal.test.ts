/** A token that leaves under load, and comes back: what on_removal says of requests, of the PIN, and of its return. */
import assert from 'node:assert/strict';
import { verify } from 'node:crypto';
import { once } from 'node:events';
import { mkdirSync, readFileSync, renameSync, rmdirSync } from 'node:fs';
import { userInfo } from 'node:os';
import path from 'node:path';
import { test, type TestContext } from 'node:test';
import { connectCaller, type Caller } from '@keyagent/protocol';
import type { Agent } from './support/agent.js';
import { cleanupAfter } from './support/cleanup.js';
import type { CountingModule } from './support/counting-module.js';
import { deploy } from './support/deployment.js';
import { waitFor } from './support/wait.js';

/** RSA: the host signs on another thread, and sees meanwhile that the token left. */
const keys = [{ label: 'www', type: 'rsa:2048' }] as const;
const rules = [{ keys: 'pkcs11:', users: [userInfo().username] }];
const request = { uri: 'pkcs11:token=web;object=www', alg: 'rsa-pkcs1-sha256' } as const;

interface Site {
  agent: Agent;
  token: CountingModule;
  pin: string;
  caller: Caller;
  /** States that the agent told the caller of. */
  told: string[];
  /** Resolves to whether the signature is good; rejects as the agent does. */
  sign(): Promise<boolean>;
}

async function site(t: TestContext, agentSpec: Parameters<typeof deploy>[1]['agent'] = {}): Promise<Site> {
  const { agent, token } = await deploy(cleanupAfter(t), {
    keys,
    agent: { rules, counted: true, ...agentSpec },
  });
  assert.ok(agent.counting !== undefined);
  const caller = await connectCaller(agent.socket, { notify: true });
  t.after(() => {
    caller.close();
  });
  const told: string[] = [];
  caller.on('notice', ({ method, params }) => {
    if (method === 'state') told.push(params.state);
  });
  const publicKey = readFileSync(token.key('www').publicKeyFile);
  let count = 0;
  const sign = async (): Promise<boolean> => {
    const message = Buffer.from(`message ${count++}`);
    const { signature } = await caller.call('sign', { ...request, message });
    return verify('sha256', message, publicKey, signature);
  };
  assert.equal(await sign(), true);
  return { agent, token: agent.counting, pin: token.pin, caller, told, sign };
}

async function codeOf(outcome: Promise<boolean>): Promise<unknown> {
  try {
    return (await outcome) ? 'ok' : 'a wrong signature';
  } catch (error) {
    return (error as { code?: unknown }).code;
  }
}

function state({ told }: Site, name: string): Promise<unknown> {
  return waitFor(`the caller is told that the token is ${name}`, () => told.at(-1) === name);
}

for (const onRemoval of ['hold', 'drain'] as const) {
  test(`${onRemoval}: removed and back under load, again and again: typed errors, no wrong signature, no hands`, async (t) => {
    const here = await site(t, { tokenSettings: { on_removal: onRemoval } });
    const { agent, token, caller, sign, told } = here;
    const codes = new Map<unknown, number>();
    const recoveries: number[] = [];
    let stopped = false;
    // A test that fails ends its agent, and workers that went on would leave nobody else a turn.
    t.signal.addEventListener('abort', () => (stopped = true));
    const worker = async (): Promise<void> => {
      while (!stopped && !caller.closed) {
        const last = await codeOf(sign());
        codes.set(last, (codes.get(last) ?? 0) + 1);
        // Who is refused comes again when there is news.
        if (last !== 'ok' && (told.at(-1) ?? 'unlocked') !== 'unlocked') await once(caller, 'notice');
      }
    };
    const workers = Array.from({ length: 8 }, worker);
    const rounds = 3;
    const loginsBefore = agent.calls('C_Login');
    for (let round = 0; round < rounds; round++) {
      told.length = 0;
      token.removeToken();
      await state(here, 'absent');
      const good = codes.get('ok') ?? 0;
      token.setFaults();
      const back = performance.now();
      await waitFor('it signs again', () => (codes.get('ok') ?? 0) > good && told.at(-1) === 'unlocked');
      recoveries.push(Math.round(performance.now() - back));
      assert.deepEqual(told, ['absent', 'locked', 'unlocking', 'unlocked']);
    }
    stopped = true;
    await Promise.all(workers);
    t.diagnostic(`back after ${recoveries.join(', ')} ms; ${JSON.stringify([...codes])}`);
    assert.equal(agent.calls('C_Login') - loginsBefore, rounds);
    codes.delete('ok');
    const typed = onRemoval === 'hold' ? [] : ['TOKEN_ABSENT', 'LOCKED'];
    assert.deepEqual(
      [...codes.keys()].filter((code) => !typed.includes(code as string)),
      [],
    );
    assert.equal(codes.has('TOKEN_ABSENT'), onRemoval === 'drain');
  });
}

for (const onRemoval of ['hold', 'drain', 'lock'] as const) {
  test(`${onRemoval}: what becomes of the request that runs and of the one that comes`, async (t) => {
    const here = await site(t, { tokenSettings: { on_removal: onRemoval } });
    const { token, sign } = here;
    token.setFaults('C_Sign sleep_ms=4000');
    const ended: string[] = [];
    const running = codeOf(sign()).finally(() => ended.push('running'));
    await waitFor('the signature is under way', () => token.sleeps().get('C_Sign') === 1);
    token.removeToken();
    await state(here, 'absent');
    const coming = codeOf(sign()).finally(() => ended.push('coming'));
    if (onRemoval === 'hold') await running;
    else assert.equal(await coming, 'TOKEN_ABSENT');
    if (onRemoval !== 'lock') assert.deepEqual(ended, [onRemoval === 'hold' ? 'running' : 'coming']);
    assert.equal(await running, onRemoval === 'lock' ? 'TOKEN_ABSENT' : 'ok');
    token.setFaults();
    assert.equal(await coming, onRemoval === 'hold' ? 'ok' : 'TOKEN_ABSENT');
  });
}

for (const where of ['while its keys are read', 'when the request is tried again'] as const) {
  test(`hold: a token that leaves once more ${where} comes back without hands, and the request is answered`, async (t) => {
    const here = await site(t, { tokenSettings: { on_removal: 'hold' } });
    const { agent, token, sign } = here;
    const logins = agent.calls('C_Login');
    // Of one login; a host that looks for the token after a removal counts anew.
    const whileRead = agent.calls('C_SignInit') - 1;
    const skip = where === 'while its keys are read' ? 0 : whileRead;
    token.setFaults(`C_SignInit rv=0x32 close_all=1 skip=${skip}`);
    const answers = Array.from({ length: skip + 1 }, () => sign());
    await waitFor('it left twice', () => agent.calls('C_Login') - logins === 2);
    token.setFaults();
    assert.ok(whileRead > 0 && (await Promise.all(answers)).every((good) => good));
  });
}

test('hold: a token that leaves at each signature ends the request, and costs few logins', async (t) => {
  const here = await site(t, { tokenSettings: { on_removal: 'hold' } });
  const { agent, token, sign } = here;
  const logins = agent.calls('C_Login');
  const whileRead = agent.calls('C_SignInit') - 1;
  // Each host counts anew, and this one has none of a login before the signature.
  token.setFaults(`C_SignInit rv=0x32 close_all=1 skip=${whileRead}`);
  for (let i = 0; i < whileRead; i++) assert.equal(await sign(), true);
  assert.equal(await codeOf(sign()), 'TOKEN_ABSENT');
  assert.equal(agent.calls('C_Login') - logins, 3);
});

test('hold: a request waits no longer than hold_ms, and not at all once an operator locks', async (t) => {
  const here = await site(t, {
    tokenSettings: { on_removal: 'hold' },
    agentSettings: { hold_ms: 1500 },
    credential: true,
  });
  const { agent, token, sign } = here;
  token.removeToken();
  await state(here, 'absent');
  assert.equal(await codeOf(sign()), 'TOKEN_ABSENT');

  const held = codeOf(sign());
  await agent.mustKeyagent(['lock']);
  assert.equal(await held, 'TOKEN_ABSENT');
  const logins = agent.calls('C_Login');
  token.setFaults();
  await state(here, 'locked');
  assert.equal(await codeOf(sign()), 'LOCKED');
  assert.equal(agent.calls('C_Login'), logins);
});

test('lock: at its return nobody is asked but an operator, also after a restart', async (t) => {
  const here = await site(t, { tokenSettings: { on_removal: 'lock' }, credential: true });
  const { agent, token, pin, sign } = here;
  token.removeToken();
  await state(here, 'absent');
  const logins = agent.calls('C_Login');
  token.setFaults();
  await state(here, 'locked');
  assert.match(await agent.mustKeyagent(['status']), /it was removed; run "keyagent unlock web"/);
  assert.equal(await codeOf(sign()), 'LOCKED');
  await agent.daemon.stop();
  await agent.start();
  assert.equal(await agent.settled('web'), 'locked');
  assert.equal(agent.calls('C_Login'), logins);
  await agent.mustKeyagent(['unlock', '--stdin'], { input: pin });
  assert.equal(agent.calls('C_Login'), logins + 1);
  await agent.daemon.stop();
  await agent.start();
  assert.equal(await agent.settled('web'), 'unlocked');
  const lines = readFileSync(agent.auditFile, 'utf8').trim().split('\n');
  const events = lines.map((line) => JSON.parse(line) as { event: string; uid?: number });
  assert.deepEqual(
    events.filter(({ event }) => event === 'lock').map(({ uid }) => uid),
    [undefined],
  );
});

for (const onRemoval of ['drain', 'lock'] as const) {
  test(`${onRemoval}: a token that was out and in again between two looks`, async (t) => {
    const here = await site(t, { tokenSettings: { on_removal: onRemoval } });
    const { agent, token, sign } = here;
    const logins = agent.calls('C_Login');
    token.setFaults('C_SignInit close_all=1 count=1');
    assert.equal(await codeOf(sign()), onRemoval === 'lock' ? 'LOCKED' : 'ok');
    await state(here, onRemoval === 'lock' ? 'locked' : 'unlocked');
    assert.equal(agent.calls('C_Login'), logins + (onRemoval === 'lock' ? 0 : 1));
  });
}

test('another token in its place gets neither the retained PIN nor a source; the right one is unlocked again', async (t) => {
  const here = await site(t, { credential: true });
  const { agent, token, sign } = here;
  const logins = agent.calls('C_Login');
  token.setFaults('C_GetTokenInfo serial=OTHER');
  await state(here, 'pin-blocked');
  assert.match(
    await agent.mustKeyagent(['status']),
    /its serial is OTHER, and the token unlocked before had/,
  );
  assert.notEqual(await codeOf(sign()), 'ok');
  assert.equal(agent.calls('C_Login'), logins);
  token.setFaults();
  await state(here, 'unlocked');
  assert.equal(await sign(), true);
  assert.equal(agent.calls('C_Login'), logins + 1);
});

test('where no PIN is kept the sources are asked at its return, and nobody else', async (t) => {
  const here = await site(t, { credential: true, tokenSettings: { retain_pin: false } });
  const { agent, token, sign } = here;
  const logins = agent.calls('C_Login');
  token.removeToken();
  await state(here, 'absent');
  token.setFaults();
  await state(here, 'unlocked');
  assert.equal(await sign(), true);
  assert.equal(agent.calls('C_Login'), logins + 1);
  assert.match(await agent.mustKeyagent(['status']), /^web +credential +\S+Z +unlocked the token$/m);
});

test('a token that its module shows to a new process only is found all the same', async (t) => {
  const { agent } = await site(t, { credential: true });
  await agent.daemon.stop();
  const tokens = path.join(agent.spec.hsm.folder, 'tokens');
  renameSync(tokens, `${tokens}-elsewhere`);
  mkdirSync(tokens);
  const before = { looks: agent.calls('C_GetSlotList'), modules: agent.calls('C_Initialize') };
  await agent.start();
  await waitFor('a process looked for it', () => agent.calls('C_GetSlotList') > before.looks);
  rmdirSync(tokens);
  renameSync(`${tokens}-elsewhere`, tokens);
  await waitFor('it is unlocked', async () => (await agent.tokenState('web')) === 'unlocked');
  assert.ok(agent.calls('C_Initialize') >= before.modules + 2);
});
