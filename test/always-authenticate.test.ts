/** Keys that ask for the PIN at every use (CKA_ALWAYS_AUTHENTICATE): one login a use, and never one too many. */
import assert from 'node:assert/strict';
import { createHash, publicEncrypt, constants, verify } from 'node:crypto';
import { mkdirSync, readFileSync, rmdirSync } from 'node:fs';
import path from 'node:path';
import { test, type TestContext } from 'node:test';
import { connectCaller, type Caller } from '@keyagent/protocol';
import { auditOf } from './support/audit.js';
import { cleanupAfter } from './support/cleanup.js';
import { deploy, type Deployment } from './support/deployment.js';
import { childrenOf, scanMemory } from './support/proc.js';
import { waitFor } from './support/wait.js';

const keys = [
  { label: 'strict', type: 'EC:prime256v1', alwaysAuthenticate: true },
  { label: 'strict-rsa', type: 'rsa:2048', alwaysAuthenticate: true },
  { label: 'www', type: 'EC:prime256v1' },
] as const;
const rules = [{ keys: 'pkcs11:', users: ['root', 'www-data'] }];
const digest = createHash('sha256').update('message').digest();

interface Scene extends Deployment {
  caller: Caller;
  /** Calls of C_Login since the last time that this was asked. */
  newLogins(): number;
  sign(label: string): Promise<Uint8Array>;
}

async function scene(t: TestContext, tokenSettings: Record<string, unknown> = {}): Promise<Scene> {
  const cleanup = cleanupAfter(t);
  const deployment = await deploy(cleanup, {
    keys,
    agent: { rules, counted: true, credential: true, tokenSettings },
  });
  const { agent } = deployment;
  assert.equal(await agent.settled('web'), 'unlocked');
  const caller = await connectCaller(agent.socket);
  cleanup.after(() => caller.close());
  let before = agent.calls('C_Login');
  return Object.assign(deployment, {
    caller,
    newLogins: () => {
      const now = agent.calls('C_Login');
      const count = now - before;
      before = now;
      return count;
    },
    sign: async (label: string) => {
      const uri = `pkcs11:token=web;object=${label}`;
      const alg = label === 'strict-rsa' ? 'rsa-pss-sha256' : 'ecdsa-sha256';
      return (await caller.call('sign', { uri, alg, digest })).signature;
    },
  });
}

function setFaults({ agent }: Scene, ...rules: string[]): void {
  assert.ok(agent.counting !== undefined);
  agent.counting.setFaults(...rules);
}

function publicKey({ token }: Scene, label: string): string {
  return readFileSync(token.key(label).publicKeyFile, 'utf8');
}

test('each signature and each decryption takes one login of its own, also when many come at once', async (t) => {
  const it = await scene(t);
  assert.equal(it.newLogins(), 0);
  for (let use = 1; use <= 3; use++) {
    assert.ok(verify('sha256', Buffer.from('message'), publicKey(it, 'strict'), await it.sign('strict')));
    assert.equal(it.newLogins(), 1);
  }
  const rsaPss = {
    key: publicKey(it, 'strict-rsa'),
    padding: constants.RSA_PKCS1_PSS_PADDING,
    saltLength: 32,
  };
  assert.ok(verify('sha256', Buffer.from('message'), rsaPss, await it.sign('strict-rsa')));
  assert.equal(it.newLogins(), 1);

  const ciphertext = publicEncrypt(
    { key: publicKey(it, 'strict-rsa'), oaepHash: 'sha1' },
    Buffer.from('secret'),
  );
  const uri = 'pkcs11:token=web;object=strict-rsa';
  const { plaintext } = await it.caller.call('decrypt', { uri, alg: 'rsa-oaep-sha1', ciphertext });
  assert.equal(Buffer.from(plaintext).toString(), 'secret');
  assert.equal(it.newLogins(), 1);

  await Promise.all(Array.from({ length: 20 }, () => it.sign('strict')));
  assert.equal(it.newLogins(), 20);
  await it.sign('www');
  assert.equal(it.newLogins(), 0, 'other keys need none');
  assert.match(
    await it.agent.mustKeyagent(['keys']),
    /object=strict;\S+ +ec-p256 +256 +\S+, PIN at each use$/m,
  );
  assert.match(await it.agent.mustKeyagent(['keys']), /object=www;\S+ +ec-p256 +256 +verified$/m);
});

test('a login for one use that fails, whatever the token calls it, is one and no more', async (t) => {
  const it = await scene(t);
  const uri = 'pkcs11:token=web;object=strict-rsa';
  const ciphertext = publicEncrypt(
    { key: publicKey(it, 'strict-rsa'), oaepHash: 'sha1' },
    Buffer.from('secret'),
  );
  const decrypt = (): Promise<unknown> =>
    it.caller.call('decrypt', { uri, alg: 'rsa-oaep-sha1', ciphertext });
  // CKR_GENERAL_ERROR, which some tokens also say of a bad ciphertext.
  setFaults(it, 'C_Login rv=0x5');
  await assert.rejects(decrypt(), { code: 'TOKEN_ERROR' });
  await assert.rejects(decrypt(), { code: 'PIN_BLOCKED' });
  await assert.rejects(it.sign('strict'), { code: 'PIN_BLOCKED' });
  assert.equal(it.newLogins(), 1);
});

test('no PIN stays in the host', async (t) => {
  const it = await scene(t);
  await it.sign('strict');
  for (const host of childrenOf(it.agent.daemon.pid)) {
    assert.deepEqual([...scanMemory(host, { pin: Buffer.from(it.token.pin) })], []);
  }
});

test('where no PIN is kept they are refused, with the reason and without a login', async (t) => {
  const it = await scene(t, { retain_pin: false });
  const { status, stderr } = await it.agent.keyagent(
    ['sign', '--key', 'pkcs11:object=strict', '--alg', 'ecdsa-sha256'],
    { input: 'message' },
  );
  assert.equal(status, 65);
  assert.match(
    stderr,
    /asks for the PIN at every use \(CKA_ALWAYS_AUTHENTICATE\), and retain_pin = false keeps none/,
  );
  assert.equal(it.newLogins(), 0);
  await it.sign('www');
});

test('a PIN that the token refuses is given once, however many wait, and other keys go on', async (t) => {
  const it = await scene(t);
  // As after somebody else changed the PIN.
  setFaults(it, 'C_Login rv=0xa0');
  const outcomes = await Promise.allSettled(Array.from({ length: 20 }, () => it.sign('strict')));
  const codes = outcomes.map(
    (outcome) => outcome.status === 'rejected' && (outcome.reason as { code: string }).code,
  );
  assert.deepEqual(codes.sort(), [...Array<string>(19).fill('PIN_BLOCKED'), 'PIN_INCORRECT']);
  assert.equal(it.newLogins(), 1);
  await it.sign('www');
  assert.match(
    await it.agent.mustKeyagent(['status']),
    /^web +unlocked .*the token refused the PIN that was kept; run "keyagent lock web", then "keyagent unlock web"/m,
  );
  const refused = auditOf(it.agent).filter(({ outcome }) => outcome === 'PIN_INCORRECT');
  assert.deepEqual(
    refused.map(({ event, token, source, cause }) => ({ event, token, source, cause })),
    [
      { event: 'unlock', token: 'web', source: 'credential', cause: undefined },
      { event: 'sign', token: undefined, source: undefined, cause: 'CKR_PIN_INCORRECT' },
    ],
  );

  // Nor does a restart try that value again: it comes from the credential too.
  setFaults(it);
  await it.agent.daemon.stop();
  await it.agent.start();
  assert.equal(await it.agent.settled('web'), 'pin-blocked');
  assert.equal(it.newLogins(), 0);
  await it.agent.unlock();
  assert.equal(it.newLogins(), 1);
});

test('however many wait for a login that takes long, other keys are used meanwhile', async (t) => {
  const it = await scene(t);
  const begun = (): number => it.agent.counting?.sleeps().get('C_Login') ?? 0;
  const before = begun();
  setFaults(it, 'C_Login sleep_ms=60000');
  const waiting = Promise.allSettled(Array.from({ length: 20 }, () => it.sign('strict')));
  await waitFor('the login is under way', () => begun() > before);
  await it.sign('www');
  setFaults(it);
  for (const host of childrenOf(it.agent.daemon.pid)) process.kill(host, 'SIGKILL');
  const outcomes = await waiting;
  assert.ok(outcomes.every(({ status }) => status === 'rejected'));
});

test('a host that dies in that login takes nobody else to it; an operator is needed', async (t) => {
  const it = await scene(t);
  setFaults(it, 'C_Login abort=1');
  await assert.rejects(it.sign('strict'), { code: 'TOKEN_ERROR' });
  await waitFor('the token is blocked', async () => (await it.agent.tokenState('web')) === 'pin-blocked');
  assert.equal(it.newLogins(), 1);
  setFaults(it);
  await it.agent.unlock();
  await it.sign('strict');
});

test('a host that dies after that login is logged in again without hands, and nothing is repeated', async (t) => {
  const it = await scene(t);
  const begun = (): number => it.agent.counting?.sleeps().get('C_Sign') ?? 0;
  const before = begun();
  setFaults(it, 'C_Sign sleep_ms=60000');
  const signing = assert.rejects(it.sign('strict'), { code: 'TOKEN_ERROR' });
  await waitFor('C_Sign is under way', () => begun() > before);
  setFaults(it);
  for (const host of childrenOf(it.agent.daemon.pid)) process.kill(host, 'SIGKILL');
  await signing;
  await waitFor('the token is unlocked again', async () => (await it.agent.tokenState('web')) === 'unlocked');
  assert.equal(it.newLogins(), 2, 'one for the use, one for the new host');
  await it.sign('strict');
});

test('a use that fails before its login costs none, and the next one works', async (t) => {
  const it = await scene(t);
  // A stale handle: of another key this would be repeated.
  setFaults(it, 'C_SignInit rv=0x60 count=1');
  await assert.rejects(it.sign('strict'), { code: 'TOKEN_ERROR' });
  assert.equal(it.newLogins(), 0);
  await it.sign('strict');
  assert.equal(it.newLogins(), 1);
});

test('none is tried when the token says that a wrong one would lock it, nor without a record of it', async (t) => {
  const it = await scene(t);
  setFaults(it, 'C_GetTokenInfo flags|=0x20000');
  await assert.rejects(it.sign('strict'), { code: 'PIN_BLOCKED', message: /user-pin-final-try/ });
  setFaults(it);
  const obstacle = path.join(it.agent.stateDir, 'web.pin-budget.json.new');
  mkdirSync(obstacle);
  await assert.rejects(it.sign('strict'), {
    code: 'PIN_BLOCKED',
    message: /pin-budget\.json cannot be written/,
  });
  assert.equal(it.newLogins(), 0);
  rmdirSync(obstacle);
  await it.sign('strict');
  assert.equal(it.newLogins(), 1);
});
