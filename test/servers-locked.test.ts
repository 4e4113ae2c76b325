/**
 * Servers and a token that is locked: they start, fail handshakes at once while nobody unlocks, wait while a login is
 * under way and serve the moment it succeeds, without holding plain HTTP up; and mistakes that end a server's start.
 */
import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';
import { startBackend } from './servers/backend.js';
import { asRoot, deployFleet, kindNames, kinds, users, type KindName } from './servers/fleet.js';
import { fetchPlain } from './servers/plain.js';
import type { Server } from './servers/server.js';
import { makeSite, type Site } from './servers/site.js';
import type { Tree } from './servers/tree.js';
import { Cleanup, cleanupAfter } from './support/cleanup.js';
import type { Deployment } from './support/deployment.js';
import { fetchPage, type Target } from './support/handshakes.js';
import { waitFor } from './support/wait.js';

const keys = [{ label: 'www', type: 'EC:prime256v1' }] as const;
/** Longer than any client waits: a handshake that is answered was not held. */
const hold_ms = 600_000;

async function siteOf(cleanup: Cleanup, deployment: Deployment, adjust?: Site['adjust']): Promise<Site> {
  const backendPort = await startBackend(cleanup);
  return makeSite(cleanup, deployment, {
    keys: ['www'],
    backendPort,
    ...(adjust === undefined ? {} : { adjust }),
  });
}

describe('a locked token', asRoot, () => {
  const cleanup = new Cleanup();
  let deployment: Deployment;
  before(async () => {
    deployment = await deployFleet(cleanup, keys, () => ({
      credential: false,
      counted: true,
      agentSettings: { hold_ms, request_timeout_ms: hold_ms },
    }));
  });
  after(() => cleanup.run());

  for (const name of kindNames) {
    test(`${name} starts, and waits for a login that is under way`, async () => {
      const { agent, authority } = deployment;
      await agent.mustKeyagent(['lock']);
      const server = await kinds[name].start(await siteOf(cleanup, deployment));
      const target: Target = { port: server.port('www'), ca: authority.root, dialogue: kinds[name].dialogue };

      for (let i = 0; i < 3; i++)
        await assert.rejects(fetchPage(target), /alert|ECONNRESET|closed during|disconnected before secure/);
      await handshakeDuringLogin(server, target, deployment);
      await fetchPage(target);
      // The terminal or program that a PIN or pass phrase would have been asked with is not there: asking is an error.
      assert.doesNotMatch(server.log(), /pass ?phrase|\bPIN\b/i);
      await server.stop();
      assert.deepEqual(server.crashes(), []);
    });
  }
});

/** Plain HTTP is answered while a handshake waits for a slow login; the handshake is answered after it. */
async function handshakeDuringLogin(server: Server, target: Target, { agent }: Deployment): Promise<void> {
  const order: string[] = [];
  const note = (what: string) => () => void order.push(what);
  const logins = () => agent.counting?.sleeps().get('C_Login') ?? 0;
  const before = logins();
  agent.counting?.setFaults(`C_Login sleep_ms=${server.httpPort === undefined ? '1500' : '5000'} count=1`);
  const unlock = agent.unlock().then(note('login'));
  await waitFor('a login is under way', () => logins() > before);
  const handshake = fetchPage(target).then(note('handshake'));
  if (server.httpPort !== undefined) {
    for (let i = 0; i < 3; i++) await fetchPlain(server.httpPort).then(note('http'));
  }
  await Promise.all([unlock, handshake]);
  const plain = server.httpPort === undefined ? [] : ['http', 'http', 'http'];
  assert.deepEqual(order.slice(0, plain.length), plain);
  assert.deepEqual(order.slice(plain.length).sort(), ['handshake', 'login']);
}

const mistakes = {
  'a misspelt key': { says: /NOT FOUND|no key matches/, adjust: misspellKey, rule: 'pkcs11:' },
  'a wrong socket': {
    says: /AGENT UNAVAILABLE|\/nowhere\/agent\.sock/,
    adjust: misleadSocket,
    rule: 'pkcs11:',
  },
  'a key that no rule lets anybody use': {
    says: /DENIED|no rule lets/,
    adjust: undefined,
    rule: 'pkcs11:object=other',
  },
} as const;

for (const [mistake, { says, adjust, rule }] of Object.entries(mistakes)) {
  test(`${mistake} ends a server's start, and its log says why`, asRoot, async (t) => {
    const cleanup = cleanupAfter(t);
    const deployment = await deployFleet(cleanup, keys, () => ({ rules: [{ keys: rule, users }] }));
    for (const name of kindNames) {
      await t.test(name, async () => {
        const error = await failedStart(name, await siteOf(cleanup, deployment, adjust));
        assert.match(error.message, /ended/);
        assert.match(error.message, says);
      });
    }
  });
}

async function failedStart(name: KindName, site: Site): Promise<Error> {
  try {
    await kinds[name].start(site);
  } catch (error) {
    if (error instanceof Error) return error;
  }
  throw new Error(`${name} started`);
}

function misspellKey(tree: Tree): void {
  const uri = 'pkcs11:token=web;object=wwv;type=private';
  const block = `-----BEGIN KEYAGENT KEY REFERENCE-----\n${Buffer.from(uri).toString('base64')}\n-----END KEYAGENT KEY REFERENCE-----\n`;
  for (const file of [
    '/etc/keyagent/www.key',
    '/etc/keyagent/www.pem',
    '/etc/apache2/sites-available/www.conf',
  ]) {
    if (tree.read(file) === '') continue;
    tree.edit(file, (text) =>
      text
        .replace(/-----BEGIN KEYAGENT KEY REFERENCE-----.*?-----END KEYAGENT KEY REFERENCE-----\n/s, block)
        .replaceAll('object=www', 'object=wwv'),
    );
  }
}

function misleadSocket(tree: Tree): void {
  const nowhere = '/nowhere/agent.sock';
  tree.edit('/etc/keyagent/openssl.cnf', (text) => text.replace(/socket = .*/, `socket = ${nowhere}`));
  for (const file of [
    '/etc/systemd/system/stunnel@www.service.d/keyagent.conf',
    '/etc/postgresql/15/main/environment',
  ]) {
    if (tree.read(file) !== '')
      tree.edit(file, (text) => text.replace(/(KEYAGENT_SOCK ?= ?'?)[^'\n]*/, `$1${nowhere}`));
  }
}
