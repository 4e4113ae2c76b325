/** A fleet's way: the PIN opens with two of three real Tang servers, without hands, and with no fewer. */
import assert from 'node:assert/strict';
import { chmodSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { randomBytes } from 'node:crypto';
import { userInfo } from 'node:os';
import path from 'node:path';
import { test, type TestContext } from 'node:test';
import type { Agent } from './support/agent.js';
import { cleanupAfter } from './support/cleanup.js';
import { deploy } from './support/deployment.js';
import { childrenOf, scanMemory } from './support/proc.js';
import { sealToTangs, startTangs, type Tang } from './support/tang.js';
import { waitFor } from './support/wait.js';

const keys = [{ label: 'www', type: 'EC:prime256v1' }] as const;
const rules = [{ keys: 'pkcs11:', users: [userInfo().username] }];

interface Fleet {
  /** Not running. */
  agent: Agent;
  tangs: [Tang, Tang, Tang];
  pin: string;
  jweFile: string;
}

async function fleet(t: TestContext, tokenSettings: Record<string, unknown> = {}): Promise<Fleet> {
  const cleanup = cleanupAfter(t);
  const pin = randomBytes(12).toString('hex');
  const { agent, folder } = await deploy(cleanup, {
    keys,
    pin,
    agent: { rules, counted: true, tokenSettings: { unlock: ['clevis', 'prompt'], ...tokenSettings } },
  });
  await agent.daemon.stop();
  const [first, second, third] = await startTangs(cleanup, folder, 3);
  assert.ok(first && second && third);
  const tangs: [Tang, Tang, Tang] = [first, second, third];
  const jweFile = path.join(agent.stateDir, 'web.pin.jwe');
  writeFileSync(jweFile, await sealToTangs(pin, 2, tangs), { mode: 0o400 });
  return { agent, tangs, pin, jweFile };
}

/** Waits until clevis has been asked; what it answered. */
async function answer(agent: Agent): Promise<string> {
  return waitFor('clevis was asked', async () => {
    const { sources } = JSON.parse(await agent.mustKeyagent(['status', '--json'])) as {
      sources: { source: string; result: string; at?: number }[];
    };
    const clevis = sources.find(({ source }) => source === 'clevis');
    return clevis?.at !== undefined && clevis.result;
  });
}

async function assertSigns(agent: Agent): Promise<void> {
  const args = ['sign', '--key', 'pkcs11:token=web;object=www', '--alg', 'ecdsa-sha256'];
  const { status, stderr } = await agent.keyagent(args, { input: 'message' });
  assert.equal(status, 0, stderr);
}

test('two of three Tang servers unlock the token at every start, with one C_Login each', async (t) => {
  const { agent, tangs } = await fleet(t);
  const before = agent.calls('C_Login');
  for (const [round, away] of tangs.entries()) {
    await away.stop();
    await agent.start();
    await waitFor('the token is unlocked', async () => (await agent.tokenState('web')) === 'unlocked');
    await assertSigns(agent);
    assert.equal(await answer(agent), 'unlocked the token');
    assert.equal(agent.calls('C_Login'), before + round + 1);
    await agent.daemon.stop();
    await away.start();
  }
});

test('one of three leaves it locked and says why; once the second is back it unlocks without hands', async (t) => {
  const { agent, tangs } = await fleet(t);
  const [first, , third] = tangs;
  await first.stop();
  await third.stop();
  const before = agent.calls('C_Login');
  await agent.start();
  const said = await answer(agent);
  for (const part of [
    'clevis gave no PIN: no good answer from ',
    first.url,
    third.url,
    'it needs 2 of 3 (Tang',
  ])
    assert.ok(said.includes(part), said);
  assert.equal(await agent.tokenState('web'), 'locked');
  assert.match(await agent.mustKeyagent(['status']), /^web +prompt +\S+Z +waits for an operator$/m);
  assert.equal(agent.calls('C_Login'), before);

  await third.start();
  await waitFor('the token is unlocked', async () => (await agent.tokenState('web')) === 'unlocked');
  await assertSigns(agent);
  assert.equal(agent.calls('C_Login'), before + 1);
  assert.match(
    await agent.mustKeyagent(['status']),
    new RegExp(`^web +clevis +\\S+Z +unlocked the token$`, 'm'),
  );
});

test('a server that accepts and says nothing does not hold up two that answer, nor is its client left behind', async (t) => {
  const { agent, tangs } = await fleet(t);
  await tangs[0].hang();
  await agent.start();
  await waitFor('the token is unlocked', async () => (await agent.tokenState('web')) === 'unlocked');
  const [host, ...others] = childrenOf(agent.daemon.pid);
  assert.deepEqual(others, []);
  assert.match(readFileSync(`/proc/${String(host)}/cmdline`, 'utf8'), /host\/main\.js/);
});

test('while a server hangs, an operator is not made to wait for it', async (t) => {
  const { agent, tangs, pin } = await fleet(t);
  await tangs[0].stop();
  await tangs[1].hang();
  await agent.start();
  const asking = (): Promise<boolean> =>
    agent.mustKeyagent(['status']).then((status) => status.includes('asking clevis for its PIN'));
  await waitFor('clevis is being asked', asking);
  await agent.mustKeyagent(['unlock', '--stdin'], { input: `${pin}\n` });
  // Not that its time was over.
  assert.equal(await answer(agent), 'an operator came first');
  await assertSigns(agent);
});

test('a lock while a server hangs stands, also when the server answers after all', async (t) => {
  const { agent, tangs } = await fleet(t);
  await tangs[0].stop();
  await tangs[1].hang();
  const before = agent.calls('C_Login');
  await agent.start();
  await waitFor('clevis is being asked', async () =>
    (await agent.mustKeyagent(['status'])).includes('asking clevis'),
  );
  await agent.mustKeyagent(['lock']);
  assert.equal(await answer(agent), 'an operator locked it');
  await tangs[0].start();
  await agent.daemon.stop();
  await agent.start();
  await waitFor('the token is there', async () => (await agent.tokenState('web')) === 'locked');
  assert.match(await agent.mustKeyagent(['status']), /an operator locked it/);
  assert.equal(agent.calls('C_Login'), before);
});

/** What clevis answered for a token so far. */
function answers({ daemon }: Agent, token: string): string[] {
  return daemon.log
    .split('\n')
    .filter((line) => line.startsWith('{'))
    .map((line) => JSON.parse(line) as { message: string; token?: string; source?: string })
    .filter((line) => line.token === token && line.source === 'clevis')
    .map(({ message }) => message);
}

test('for a token that a reload takes out of service clevis is asked no more, whether it was being asked or was to be', async (t) => {
  const { agent, tangs, jweFile } = await fleet(t);
  await tangs[0].stop();
  await tangs[1].hang();
  await agent.start();
  await waitFor('clevis is being asked', async () =>
    (await agent.mustKeyagent(['status'])).includes('asking clevis'),
  );
  // Whoever asks from now on hears at once that there is none.
  rmSync(jweFile);
  const rename = async (name: string): Promise<void> => {
    agent.configure(({ token }) => Object.assign(token[0] ?? {}, { name }));
    await agent.ask('reload', {});
  };
  await rename('second');
  await waitFor('clevis is to be asked again', () => answers(agent, 'second').length === 1);
  await rename('third');
  await waitFor('it was, for the last token', () => answers(agent, 'third').length === 2);
  assert.equal(answers(agent, 'web').at(-1), 'PIN source: a reload took it out of service');
  assert.equal(answers(agent, 'second').length, 1);
});

test('a JWE that was changed, is missing, or that others can read is not used, and the prompt waits', async (t) => {
  const { agent, jweFile } = await fleet(t);
  const jwe = readFileSync(jweFile, 'latin1');
  const middle = Math.floor(jwe.length / 2);
  const before = agent.calls('C_Login');
  const spoilers: [spoil: () => void, said: RegExp][] = [
    [
      () =>
        writeFileSync(
          jweFile,
          jwe.slice(0, middle) + (jwe[middle] === 'A' ? 'B' : 'A') + jwe.slice(middle + 1),
        ),
      /^clevis gave no PIN: /,
    ],
    [
      () => writeFileSync(jweFile, jwe.slice(0, -1) + (jwe.endsWith('A') ? 'B' : 'A')),
      /^clevis gave no PIN: /,
    ],
    [() => chmodSync(jweFile, 0o444), /has mode 0444; chmod 0400 it/],
    [() => rmSync(jweFile), /there is no .*web\.pin\.jwe; write it with "clevis encrypt"/],
  ];
  for (const [spoil, said] of spoilers) {
    chmodSync(jweFile, 0o600);
    spoil();
    await agent.start();
    assert.match(await answer(agent), said);
    assert.equal(await agent.tokenState('web'), 'locked');
    await agent.daemon.stop();
  }
  assert.equal(agent.calls('C_Login'), before);
});

test('a PIN that the token refuses is tried once, however often clevis gives it', async (t) => {
  const { agent, tangs, jweFile } = await fleet(t);
  rmSync(jweFile);
  writeFileSync(jweFile, await sealToTangs('stale-pin', 2, tangs), { mode: 0o400 });
  const before = agent.calls('C_Login');
  await agent.start();
  assert.equal(await answer(agent), 'the token refused its PIN');
  for (let i = 0; i < 3; i++) {
    await agent.daemon.stop();
    await agent.start();
    assert.match(await answer(agent), /the PIN from clevis was refused or never confirmed/);
    assert.equal(await agent.tokenState('web'), 'pin-blocked');
  }
  assert.equal(agent.calls('C_Login'), before + 1);
});

test('without retain_pin neither agent nor host holds the PIN that clevis gave', async (t) => {
  const { agent, pin } = await fleet(t, { retain_pin: false });
  await agent.start();
  await waitFor('the token is unlocked', async () => (await agent.tokenState('web')) === 'unlocked');
  for (const pid of [agent.daemon.pid, ...childrenOf(agent.daemon.pid)]) {
    assert.deepEqual(
      [...scanMemory(pid, { pin: Buffer.from(pin) })],
      [],
      readFileSync(`/proc/${pid}/cmdline`, 'utf8'),
    );
  }
});
