/** The audit log of a real agent: what is in it, what a killed agent, a rotation and a full disk leave of it. */
import assert from 'node:assert/strict';
import { existsSync, mkdirSync, readFileSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { userInfo } from 'node:os';
import path from 'node:path';
import { test, type TestContext } from 'node:test';
import { connectCaller } from '@keyagent/protocol';
import { parse, stringify } from 'smol-toml';
import { isRoot, serverUser, whyNotAs } from './support/account.js';
import { Agent } from './support/agent.js';
import { makeAuthority } from './support/authority.js';
import { cleanupAfter, type Cleanup } from './support/cleanup.js';
import { mustRun, type CommandResult } from './support/command.js';
import { childrenOf } from './support/proc.js';
import { scratchFolder } from './support/scratch.js';
import { SoftHsm } from './support/softhsm.js';
import { waitFor } from './support/wait.js';

const uri = 'pkcs11:token=web;object=www';
const signing = ['sign', '--key', uri, '--alg', 'ecdsa-sha256'];
/** May be any bytes that are found nowhere by chance. */
const message = 'a message of which nothing is written down';

type Line = Record<string, unknown>;

/** An agent whose log can be elsewhere; this user may sign. */
async function startAudited(cleanup: Cleanup, audit: Record<string, string> = {}): Promise<Agent> {
  const folder = scratchFolder(cleanup);
  const hsm = new SoftHsm(folder, await makeAuthority(folder));
  const token = await hsm.makeToken('web', [{ label: 'www', type: 'EC:prime256v1' }]);
  const me = { name: 'me', keys: 'pkcs11:', users: [userInfo().username], operations: ['sign'] };
  const agent = new Agent(cleanup, {
    folder,
    hsm,
    tokens: [token],
    rules: [me],
    counted: true,
  });
  const configuration = parse(readFileSync(agent.configFile, 'utf8'));
  writeFileSync(
    agent.configFile,
    stringify({ ...configuration, audit: { file: agent.auditFile, ...audit } }),
  );
  await agent.start();
  await agent.unlock();
  return agent;
}

function linesOf(file: string): Line[] {
  return readFileSync(file, 'utf8')
    .split('\n')
    .filter((line) => line !== '')
    .map((line) => JSON.parse(line) as Line);
}

function verify(agent: Agent, ...args: string[]): Promise<CommandResult> {
  return agent.keyagent(['audit', 'verify', '--config', agent.configFile, ...args]);
}

test('every decision and every deed has a line, with who, what, by which rule and how long', async (t) => {
  const agent = await startAudited(cleanupAfter(t));
  await agent.mustKeyagent(signing, { input: message });
  const refused = await agent.keyagent(['sign', '--key', uri, '--alg', 'ed25519'], { input: message });
  assert.equal(refused.status, 65);
  assert.equal((await agent.keyagent(['decrypt', '--key', uri, '--alg', 'rsa-oaep-sha256'])).status, 77);
  await agent.mustKeyagent(['reload']);
  await agent.mustKeyagent(['lock']);
  assert.equal((await agent.keyagent(signing, { input: message })).status, 75);
  assert.equal((await agent.keyagent(['unlock', '--stdin'], { input: 'wrong\n' })).status, 77);
  await agent.mustKeyagent(['stop']);
  assert.equal(await agent.daemon.ended(), 0);

  const lines = linesOf(agent.auditFile);
  assert.deepEqual(
    lines.map(({ event, outcome, alg, rule }) =>
      [event, outcome, alg, rule].filter((each) => each !== undefined),
    ),
    [
      ['log'],
      ['start', 'ok'],
      ['unlock', 'ok'],
      ['sign', 'ok', 'ecdsa-sha256', 'me'],
      ['sign', 'MECHANISM', 'ed25519', 'me'],
      ['decrypt', 'DENIED', 'rsa-oaep-sha256'],
      ['reload', 'ok'],
      ['lock', 'ok'],
      ['sign', 'LOCKED', 'ecdsa-sha256', 'me'],
      ['unlock', 'PIN_INCORRECT'],
      ['stop', 'ok'],
    ],
  );
  const { uid, gid } = userInfo();
  const [signed = {}, , denied = {}] = lines.filter(({ event }) => event === 'sign' || event === 'decrypt');
  for (const line of [signed, denied]) assert.deepEqual([line.uid, line.gid], [uid, gid]);
  // Of the command, whose number may be smaller than ours: they begin anew after a while.
  assert.ok(Number(signed.pid) > 1 && ![process.pid, agent.daemon.pid].includes(Number(signed.pid)));
  assert.equal(signed.mechanism, 'ecdsa');
  assert.match(String(signed.key), /^pkcs11:token=web;serial=[0-9a-f]+;object=www;id=/);
  // As long as the command may take, in microseconds.
  assert.ok(Number(signed.queue_us) >= 0 && Number(signed.queue_us) < 6e7);
  assert.ok(
    Number(signed.token_us) > 10 && Number(signed.token_us) < 6e7,
    `token_us ${String(signed.token_us)}`,
  );
  assert.equal(denied.token_us, undefined, 'what was denied never reached the token');
  assert.equal((await verify(agent)).status, 0);
});

test('deeds of operators say who did what: unlock with its source, a wrong PIN, lock, reload, stop', async (t) => {
  const agent = await startAudited(cleanupAfter(t));
  await agent.mustKeyagent(['lock']);
  assert.equal((await agent.keyagent(['unlock', '--stdin'], { input: 'wrong\n' })).status, 77);
  const obstacle = path.join(agent.stateDir, 'revoked.json.new');
  await agent.unlock();
  mkdirSync(obstacle);
  assert.equal((await agent.keyagent(['lock'])).status, 78);
  rmSync(obstacle, { recursive: true });
  await agent.mustKeyagent(['reload']);
  await agent.mustKeyagent(['stop']);
  assert.equal(await agent.daemon.ended(), 0);
  const { uid } = userInfo();
  assert.deepEqual(
    linesOf(agent.auditFile)
      .slice(2)
      .map((line) => [line.event, line.token, line.source, line.outcome, line.uid]),
    [
      ['unlock', 'web', 'prompt', 'ok', uid],
      ['lock', 'web', undefined, 'ok', uid],
      ['unlock', 'web', 'prompt', 'PIN_INCORRECT', uid],
      ['unlock', 'web', 'prompt', 'ok', uid],
      // The login ended; that a restart would forget it is what failed.
      ['lock', 'web', undefined, 'CONFIGURATION', uid],
      ['reload', undefined, undefined, 'ok', uid],
      ['stop', undefined, undefined, 'ok', uid],
    ],
  );
});

test('what nobody asked for has no uid: a host that ended and how, the login after it, an end by signal', async (t) => {
  const agent = await startAudited(cleanupAfter(t));
  const unlocks = (): number => linesOf(agent.auditFile).filter(({ event }) => event === 'unlock').length;
  const end = async (signal: 'SIGKILL' | 'SIGSTOP'): Promise<void> => {
    const [host = 0] = childrenOf(agent.daemon.pid);
    const before = unlocks();
    if (signal === 'SIGSTOP') await agent.setRequestTimeout(1000);
    process.kill(host, signal);
    if (signal === 'SIGSTOP') {
      await agent.keyagent(signing, { input: message });
      await agent.setRequestTimeout(10_000);
    }
    await waitFor('another host is logged in', () => unlocks() > before);
  };
  await end('SIGKILL');
  await end('SIGSTOP');
  await agent.daemon.stop();
  assert.deepEqual(
    linesOf(agent.auditFile)
      .slice(3)
      .filter(({ event }) => event !== 'sign' && event !== 'reload')
      .map((line) => [line.event, line.token, line.ended ?? line.source, line.outcome, line.uid]),
    [
      ['host', 'web', 'signal SIGKILL', 'TOKEN_ERROR', undefined],
      ['unlock', 'web', 'prompt', 'ok', undefined],
      ['host', 'web', 'deadline', 'TOKEN_ERROR', undefined],
      ['unlock', 'web', 'prompt', 'ok', undefined],
      ['stop', undefined, undefined, 'ok', undefined],
    ],
  );
});

test('nothing of a PIN, a message or a signature is in it', async (t) => {
  const agent = await startAudited(cleanupAfter(t));
  const { bytes } = await agent.keyagent(signing, { input: message });
  await agent.keyagent(['sign', '--key', `${uri}?pin-value=7412-pin`, '--alg', 'ecdsa-sha256']);
  await agent.keyagent(['unlock', '--stdin'], { input: '8642-wrong\n' });
  const text = readFileSync(agent.auditFile, 'latin1');
  for (const secret of ['7412-pin', '8642-wrong', message, bytes.subarray(4)]) {
    const buffer = Buffer.from(secret as string);
    for (const form of ['latin1', 'hex', 'base64'] as const) {
      assert.ok(!text.includes(buffer.toString(form)), `${buffer.toString('latin1')} as ${form}`);
    }
  }
});

test('a killed agent has written down every signature that it gave away, and its log is good', async (t) => {
  const agent = await startAudited(cleanupAfter(t));
  let given = 0;
  for (let round = 0; round < 3; round++) {
    const callers = await Promise.all(Array.from({ length: 4 }, () => connectCaller(agent.socket)));
    const digest = Buffer.alloc(32, round);
    const workers = callers.map(async (caller) => {
      for (;;) {
        await caller.call('sign', { uri, alg: 'ecdsa-sha256', digest });
        given++;
        if (given % 100 === 0 && agent.daemon.running) agent.daemon.signal('SIGKILL');
      }
    });
    await Promise.allSettled(workers);
    assert.equal(await agent.daemon.ended(), 'SIGKILL');
    const { status, stderr } = await verify(agent);
    assert.equal(status, 0, stderr);
    assert.match(stderr, /: the agent did not end in order\n/);
    await agent.start();
    await agent.unlock();
  }
  const signed = linesOf(agent.auditFile).filter(
    ({ event, outcome }) => event === 'sign' && outcome === 'ok',
  );
  assert.ok(given >= 300 && signed.length >= given, `${signed.length} records of ${given} signatures`);
  const { status, stderr } = await verify(agent);
  assert.equal(status, 0, stderr);
  assert.equal(stderr.match(/an agent began after one that did not end in order/g)?.length, 3);
});

test('a line that is removed while the agent runs, or stands still, is missed', async (t) => {
  const agent = await startAudited(cleanupAfter(t));
  await agent.mustKeyagent(signing, { input: message });
  const whole = readFileSync(agent.auditFile, 'utf8');
  const shorter = whole.split('\n').slice(0, -2).join('\n') + '\n';
  writeFileSync(agent.auditFile, shorter);
  assert.equal((await verify(agent)).status, 65, 'while it runs');
  writeFileSync(agent.auditFile, whole);
  assert.equal((await verify(agent)).status, 0);
  await agent.daemon.stop();
  const atEnd = readFileSync(agent.auditFile, 'utf8');
  writeFileSync(agent.auditFile, atEnd.split('\n').slice(0, -2).join('\n') + '\n');
  assert.equal((await verify(agent)).status, 65, 'after its end');
  await agent.start();
  const { status, stderr } = await verify(agent);
  assert.equal(status, 65, 'after its next start');
  assert.match(stderr, /audit\.jsonl:\d+: record \d+ is missing before this line\n$/);
});

test('a rotation is followed: by reload, and by SIGHUP with a configuration that is wrong', async (t) => {
  const agent = await startAudited(cleanupAfter(t));
  await agent.mustKeyagent(signing, { input: message });
  renameSync(agent.auditFile, `${agent.auditFile}.2`);
  await agent.mustKeyagent(signing, { input: message });
  await agent.mustKeyagent(['reload']);
  await agent.mustKeyagent(signing, { input: message });

  renameSync(agent.auditFile, `${agent.auditFile}.1`);
  const configuration = readFileSync(agent.configFile, 'utf8');
  writeFileSync(agent.configFile, 'no = "configuration"\n');
  agent.daemon.signal('SIGHUP');
  await waitFor(
    'the agent goes on in a new file',
    () => existsSync(agent.auditFile) && linesOf(agent.auditFile).length === 2,
  );
  writeFileSync(agent.configFile, configuration);
  await agent.mustKeyagent(signing, { input: message });

  const { status, stdout, stderr } = await verify(agent);
  assert.deepEqual([status, stderr], [0, '']);
  assert.match(stdout, /^good: records 1 to 11 in \S+\.2, \S+\.1, \S+\.jsonl\n$/);
  assert.deepEqual(
    linesOf(agent.auditFile).map(({ event, reason, outcome }) => [event, reason ?? outcome]),
    [
      ['log', 'rotation'],
      ['reload', 'CONFIGURATION'],
      ['sign', 'ok'],
    ],
  );
});

const asRoot = { skip: isRoot ? false : 'needs root, to mount a small disk' };

async function mountSmallDisk(t: TestContext, cleanup: Cleanup): Promise<{ file: string; ballast: string }> {
  const disk = path.join(scratchFolder(cleanup), 'disk');
  mkdirSync(disk);
  await mustRun('mount', ['-t', 'tmpfs', '-o', 'size=64k,mode=0700', 'keyagent-test', disk]);
  cleanup.after(async () => {
    await mustRun('umount', [disk]);
  });
  t.diagnostic(`audit log on a tmpfs of 64 KiB, ${disk}`);
  return { file: path.join(disk, 'audit.jsonl'), ballast: path.join(disk, 'ballast') };
}

function fillUp(ballast: string): void {
  assert.throws(() => writeFileSync(ballast, Buffer.alloc(128 * 1024)), { code: 'ENOSPC' });
}

/** Signs until the page that the log has already is full too. */
async function firstRefusal(
  agent: Agent,
  tries: number,
): Promise<(CommandResult & { signed: number }) | undefined> {
  for (let i = 0; i < tries; i++) {
    const result = await agent.keyagent(signing, { input: message });
    if (result.status !== 0) return { ...result, signed: i };
  }
  return undefined;
}

test(
  'a full disk: "deny" refuses to sign and to unlock, not to lock, and recovers alone',
  asRoot,
  async (t) => {
    const cleanup = cleanupAfter(t);
    const { file, ballast } = await mountSmallDisk(t, cleanup);
    const agent = await startAudited(cleanup, { file });
    fillUp(ballast);
    const refusal = await firstRefusal(agent, 20);
    assert.equal(refusal?.status, 70);
    assert.match(refusal.stderr, /^keyagent: the audit log cannot be written/);
    // The very request that could not be recorded was refused.
    assert.equal(linesOf(file).filter(({ event }) => event === 'sign').length, refusal.signed);
    const signatures = agent.calls('C_Sign');
    assert.equal((await agent.keyagent(signing, { input: message })).status, 70);
    assert.equal(agent.calls('C_Sign'), signatures, 'the token is not asked');
    await agent.mustKeyagent(['lock']);
    assert.equal((await agent.keyagent(['unlock', '--stdin'], { input: '7412-pin\n' })).status, 70);
    assert.equal(await agent.tokenState('web'), 'locked');

    rmSync(ballast);
    await agent.unlock();
    await agent.mustKeyagent(signing, { input: message });
    const opening = linesOf(file).findLast(({ event }) => event === 'log');
    assert.equal(opening?.reason, 'failure');
    assert.ok(Number(opening.unrecorded) >= 3);
    const { status, stderr } = await verify(agent);
    assert.equal(status, 0, stderr);
    assert.match(stderr, /\d+ records before this line could not be written\n$/);
  },
);

test('a full disk: "count" goes on, and says how much is not written down', asRoot, async (t) => {
  const cleanup = cleanupAfter(t);
  const { file, ballast } = await mountSmallDisk(t, cleanup);
  const agent = await startAudited(cleanup, { file, on_error: 'count' });
  fillUp(ballast);
  assert.equal(await firstRefusal(agent, 20), undefined);
  rmSync(ballast);
  await agent.mustKeyagent(signing, { input: message });
  const lines = linesOf(file);
  const opening = lines.findLast(({ event }) => event === 'log');
  const signed = lines.filter(({ event }) => event === 'sign').length;
  assert.equal(signed + Number(opening?.unrecorded), 21);
  assert.equal((await verify(agent)).status, 0);
});

test(
  'a full disk: a reload to "count", and to "deny" again, holds from the next request on',
  asRoot,
  async (t) => {
    const cleanup = cleanupAfter(t);
    const { file, ballast } = await mountSmallDisk(t, cleanup);
    const agent = await startAudited(cleanup, { file });
    fillUp(ballast);
    assert.equal((await firstRefusal(agent, 20))?.status, 70);
    for (const [onError, status] of [
      ['count', 0],
      ['deny', 70],
    ] as const) {
      agent.configure(({ audit }) => (audit.on_error = onError));
      await agent.mustKeyagent(['reload']);
      assert.equal((await agent.keyagent(signing, { input: message })).status, status);
    }
  },
);

test('an agent that finds its disk full starts, and serves when there is room', asRoot, async (t) => {
  const cleanup = cleanupAfter(t);
  const { file, ballast } = await mountSmallDisk(t, cleanup);
  const agent = await startAudited(cleanup, { file });
  await agent.daemon.stop();
  fillUp(ballast);
  while ((await firstRefusalOfStart(agent)) === undefined);
  rmSync(ballast);
  await agent.unlock();
  await agent.mustKeyagent(signing, { input: message });
  assert.equal((await verify(agent)).status, 0);
});

async function firstRefusalOfStart(agent: Agent): Promise<CommandResult | undefined> {
  await agent.start();
  const result = await agent.keyagent(['unlock', '--stdin'], { input: '7412-pin\n' });
  if (result.status === 70) return result;
  await agent.daemon.stop();
  return undefined;
}

test('keyagent audit verify needs no agent', async (t) => {
  const agent = await startAudited(cleanupAfter(t));
  await agent.daemon.stop();
  assert.equal((await verify(agent)).status, 0);
});

test('keyagent audit verify runs as its owner only', { skip: whyNotAs(serverUser()) }, async (t) => {
  const agent = await startAudited(cleanupAfter(t));
  const { uid, gid } = serverUser();
  const { status, stderr } = await agent.keyagent(
    [
      'audit',
      'verify',
      agent.auditFile,
      '--head',
      `${agent.stateDir}/audit.head`,
      '--key',
      `${agent.stateDir}/audit.key`,
    ],
    { uid, gid },
  );
  assert.equal(status, 66);
  assert.match(stderr, /audit\.key: cannot be read \(EACCES\)/);
});
