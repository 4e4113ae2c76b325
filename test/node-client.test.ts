/** @keyagent/client with a real agent: events, restarts, a crash under load, cancelling, refusals. */
import assert from 'node:assert/strict';
import { createHash, verify, X509Certificate } from 'node:crypto';
import { once } from 'node:events';
import { readFileSync } from 'node:fs';
import { userInfo } from 'node:os';
import path from 'node:path';
import { test, type TestContext } from 'node:test';
import { AgentError, connect, isRetryable, type Client, type Key } from '@keyagent/client';
import { isRoot, serverUser, type Account } from './support/account.js';
import { cleanupAfter } from './support/cleanup.js';
import { mustRun } from './support/command.js';
import { deploy, type Deployment, type DeploymentSpec } from './support/deployment.js';

const keys = [
  { label: 'www', type: 'EC:prime256v1' },
  { label: 'mail', type: 'EC:edwards25519' },
] as const;
const rules = [{ keys: 'pkcs11:object=www', users: [userInfo().username], operations: ['sign'] }];
const uri = 'pkcs11:token=web;object=www';
const message = Buffer.from('message');

interface Opened extends Deployment {
  client: Client;
  key: Key;
}

async function open(t: TestContext, agent: DeploymentSpec['agent'] = {}): Promise<Opened> {
  const cleanup = cleanupAfter(t);
  const deployment = await deploy(cleanup, { keys, agent: { rules, ...agent } });
  const client = await connect({ socket: deployment.agent.socket });
  cleanup.after(() => client.close());
  return Object.assign(deployment, { client, key: await client.key(uri) });
}

function isGood(key: Key, signature: Buffer): boolean {
  return verify('sha256', message, key.publicKey, signature);
}

/** A client that the agent takes for another user; without root it is the same one. */
async function connectAs({ uid, gid }: Account, socket: string): Promise<Client> {
  if (!isRoot) return connect({ socket });
  process.setegid?.(gid);
  process.seteuid?.(uid);
  try {
    return await connect({ socket });
  } finally {
    process.seteuid?.(0);
    process.setegid?.(0);
  }
}

/** The event, or an error that names it; the limit is for a loaded machine. */
function told(client: Client, event: 'locked' | 'unlocked' | 'rotated' | 'disconnected'): Promise<unknown[]> {
  return once(client, event, { signal: AbortSignal.timeout(30_000) });
}

test('keys, certificates and signatures of the token; what no rule allows is denied', async (t) => {
  const { client, key, token } = await open(t);
  const list = await client.keys();
  const isListed = list.some((entry) => entry.uri === key.uri && entry.algorithm === 'ec-p256');
  assert.ok(isListed);
  const expected = new X509Certificate(readFileSync(token.key('www').certificateFile));
  assert.equal(key.certificate?.fingerprint256, expected.fingerprint256);
  assert.ok(key.certificate.publicKey.equals(key.publicKey));
  const digest = createHash('sha256').update(message).digest();
  assert.ok(isGood(key, await key.sign('ecdsa-sha256', { digest })));
  const long = Buffer.alloc(1_000_000, 7);
  assert.ok(verify('sha256', long, key.publicKey, await key.sign('ecdsa-sha256', long)));

  await assert.rejects(client.key('pkcs11:token=web;object=none'), { code: 'NOT_FOUND' });
  const mail = client.key('pkcs11:token=web;object=mail').then((other) => other.sign('ed25519', message));
  await assert.rejects(mail, (error) => {
    assert.ok(error instanceof AgentError);
    assert.deepEqual([error.code, isRetryable(error)], ['DENIED', false]);
    return true;
  });
});

test('500 signatures asked for at once share one connection', async (t) => {
  const { agent, key } = await open(t);
  const signatures = await Promise.all(Array.from({ length: 500 }, () => key.sign('ecdsa-sha256', message)));
  assert.ok(signatures.every((signature) => isGood(key, signature)));
  assert.ok(agent.daemon.running);
});

test('locked and unlocked are told when an operator does it, and LOCKED is retryable', async (t) => {
  const { agent, client, key } = await open(t);
  const locked = told(client, 'locked');
  await agent.mustKeyagent(['lock']);
  assert.deepEqual(await locked, ['web']);
  await assert.rejects(key.sign('ecdsa-sha256', message), (error) => isRetryable(error));
  const unlocked = told(client, 'unlocked');
  await agent.unlock();
  assert.deepEqual(await unlocked, ['web']);
  assert.ok(isGood(key, await key.sign('ecdsa-sha256', message)));
});

test('100 cancelled signatures end at once and leave the connection as it was', async (t) => {
  const { client, key } = await open(t);
  let lost = 0;
  client.on('disconnected', () => lost++);
  const controller = new AbortController();
  const { signal } = controller;
  const calls = Array.from({ length: 100 }, () => key.sign('ecdsa-sha256', message, { signal }));
  controller.abort(new Error('the user left'));
  for (const call of calls)
    await assert.rejects(call, { code: 'CANCELLED', cause: new Error('the user left') });
  assert.ok(isGood(key, await key.sign('ecdsa-sha256', message)));
  assert.equal(lost, 0);
});

test('a client without listeners outlives a restart of the agent; its keys go on', async (t) => {
  const { agent, key } = await open(t, { credential: true });
  await agent.daemon.stop();
  await assert.rejects(key.sign('ecdsa-sha256', message), {
    code: 'UNAVAILABLE',
    message: /start keyagentd/,
  });
  await agent.start();
  assert.equal(await agent.settled('web'), 'unlocked');
  assert.ok(isGood(key, await key.sign('ecdsa-sha256', message)));
});

test('a program that only listens is told when the agent is there again, and unlocked', async (t) => {
  const { agent, client, key } = await open(t, { credential: true });
  const [disconnected, unlocked] = [told(client, 'disconnected'), told(client, 'unlocked')];
  await agent.daemon.stop();
  const [reason] = (await disconnected) as [AgentError];
  assert.equal(reason.code, 'UNAVAILABLE');
  await agent.start();
  assert.deepEqual(await unlocked, ['web']);
  assert.ok(isGood(key, await key.sign('ecdsa-sha256', message)));
});

test('an agent that is killed under load costs what came until it was unlocked again, by errors that ask to retry', async (t) => {
  const { agent, client, key } = await open(t, { credential: true });
  const failures: unknown[] = [];
  let good = 0;
  let stop = false;
  const caller = async (): Promise<void> => {
    while (!stop) {
      try {
        assert.ok(isGood(key, await key.sign('ecdsa-sha256', message)));
        good++;
      } catch (error) {
        failures.push(error);
      }
    }
  };
  const callers = Promise.all(Array.from({ length: 32 }, caller));
  const unlocked = told(client, 'unlocked');
  agent.daemon.signal('SIGKILL');
  await agent.daemon.ended();
  await agent.start();
  await unlocked;
  const before = good;
  await Promise.all(Array.from({ length: 64 }, () => key.sign('ecdsa-sha256', message)));
  stop = true;
  await callers;
  assert.ok(good > before);
  assert.deepEqual(
    failures.filter((error) => !isRetryable(error)),
    [],
  );
});

test('rotated is told when the certificate of a key was replaced, to nobody whom no rule names for it', async (t) => {
  const { agent, client, key, hsm, token, authority, folder } = await open(t);
  const { id, publicKeyFile } = token.key('www');
  const renewed = await authority.certify('web-renewed', publicKeyFile);
  const der = path.join(folder, 'renewed.der');
  await mustRun('openssl', ['x509', '-in', renewed, '-outform', 'DER', '-out', der]);
  await hsm.pkcs11Tool(token, '--delete-object', '--type', 'cert', '--id', id);
  await hsm.pkcs11Tool(token, '--write-object', der, '--type', 'cert', '--id', id, '--label', 'www');
  const stranger = await connectAs(serverUser(), agent.socket);
  t.after(() => stranger.close());
  const overheard: string[] = [];
  stranger.on('rotated', (rotatedUri) => overheard.push(rotatedUri));
  const rotated = told(client, 'rotated');
  await agent.mustKeyagent(['reload']);
  assert.deepEqual(await rotated, [key.uri]);
  // Its answer comes behind everything that was told before.
  await stranger.status();
  if (isRoot) assert.deepEqual(overheard, []);
  const again = await client.key(uri);
  assert.equal(again.certificate?.fingerprint256, new X509Certificate(readFileSync(renewed)).fingerprint256);
  assert.notEqual(again.certificate.fingerprint256, key.certificate?.fingerprint256);
});
