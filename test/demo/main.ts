/**
 * npm run demo: the whole way once, on real parts, in front of the user's eyes. A throw-away SoftHSM token with a key
 * made inside it, an agent that is unlocked once, and Apache, event and prefork, that serve a page with that key.
 * `--keep` leaves everything running. Exits with 0 only if each page came over a handshake that the token signed.
 */
import assert from 'node:assert/strict';
import { parseArgs } from 'node:util';
import { startAgent } from '../support/agent.js';
import { page, type Apache, type Mpm } from '../support/apache.js';
import { auditOf } from '../support/audit.js';
import { makeAuthority } from '../support/authority.js';
import { Cleanup } from '../support/cleanup.js';
import { Deployment } from '../support/deployment.js';
import { fetchPage, fingerprintOf } from '../support/handshakes.js';
import { keyagentCommand } from '../support/paths.js';
import { mappedFiles, uidOf } from '../support/proc.js';
import { scratchFolder } from '../support/scratch.js';
import { SoftHsm } from '../support/softhsm.js';

function say(step: string, ...details: string[]): void {
  console.log(`\n${step}`);
  for (const detail of details) console.log(`    ${detail}`);
}

async function setUp(cleanup: Cleanup): Promise<Deployment> {
  const folder = scratchFolder(cleanup);
  const authority = await makeAuthority(folder);
  const hsm = new SoftHsm(folder, authority);
  const token = await hsm.makeToken('demo', [{ label: 'www', type: 'rsa:2048' }]);
  const listing = await hsm.pkcs11Tool(token, '--list-objects', '--type', 'privkey');
  const access = /Access: +(.*)/.exec(listing)?.[1] ?? '';
  assert.match(access, /never extractable/);
  say('A SoftHSM token with a TLS key', folder, `RSA-2048 key "www", made inside the token (${access})`);

  const agent = await startAgent(cleanup, { folder, hsm, tokens: [token], counted: true });
  say(
    'The agent',
    `keyagentd, pid ${agent.daemon.pid}, listens on ${agent.socket}`,
    `token demo is ${await agent.settled('demo')}`,
  );
  await agent.unlock();
  say('keyagent unlock demo --stdin', `token demo is ${await agent.tokenState('demo')}`);
  return new Deployment(cleanup, folder, authority, hsm, token, agent);
}

/** Starts Apache, fetches a page, and shows who signed. */
async function serve(deployment: Deployment, mpm: Mpm): Promise<Apache> {
  const { agent, authority, token } = deployment;
  const signedBefore = signatures(deployment);
  const apache = await deployment.apache({ mpm, reference: 'uri', keys: ['www'] });
  const { body, protocol, cipher, fingerprint } = await fetchPage({
    port: apache.port,
    ca: authority.root,
    tls: { minVersion: 'TLSv1.3' },
  });
  assert.equal(body, page);
  assert.equal(fingerprint, fingerprintOf(token.key('www').certificateFile));
  assert.equal(signatures(deployment), signedBefore + 1, 'the audit log has no record of this signature');
  const children = apache.children();
  const modules = [apache.pid, ...children]
    .flatMap(mappedFiles)
    .filter((file) => /softhsm|counting/.test(file));
  assert.deepEqual(modules, []);
  const record = auditOf(agent).findLast(({ event }) => event === 'sign');
  say(
    `Apache ${mpm} on https://127.0.0.1:${apache.port}/`,
    `SSLCertificateKeyFile "${deployment.uri('www', 'private')}"`,
    `parent ${apache.pid} (uid ${uidOf(apache.pid)}), children ${children.join(' ')} (uid ${uidOf(children[0] ?? 0)}); none has a PKCS#11 module loaded`,
    `GET / over ${protocol}, ${cipher}: 200, ${JSON.stringify(body)}`,
    `signed for pid ${String(record?.pid)}, uid ${String(record?.uid)}: ${String(record?.alg)} with ${String(record?.key)}`,
  );
  return apache;
}

function signatures({ agent }: Deployment): number {
  return auditOf(agent).filter(({ event, outcome }) => event === 'sign' && outcome === 'ok').length;
}

function sayHowToStop({ agent, authority, folder }: Deployment, servers: readonly Apache[]): void {
  const [server] = servers;
  say(
    'Still running, as you asked. To look:',
    `curl --cacert ${authority.rootFile} https://localhost:${String(server?.port)}/`,
    `${keyagentCommand} --control-socket ${agent.controlSocket} status`,
    'and to stop:',
    `kill ${servers.map(({ pid }) => pid).join(' ')}`,
    `${keyagentCommand} --control-socket ${agent.controlSocket} stop`,
    `rm -r ${folder}`,
  );
}

async function main(): Promise<void> {
  const { keep } = parseArgs({ options: { keep: { type: 'boolean', default: false } } }).values;
  const cleanup = new Cleanup();
  try {
    const demo = await setUp(cleanup);
    const servers = [await serve(demo, 'event'), await serve(demo, 'prefork')];
    const [initialised, logins, signs] = ['C_Initialize', 'C_Login', 'C_Sign'].map((name) =>
      demo.agent.calls(name),
    );
    assert.deepEqual([initialised, logins], [1, 1]);
    say(
      'Where the key is',
      'in the token; the agent has a session with it, the servers have a socket to the agent',
      `the token's module saw ${String(initialised)} C_Initialize, ${String(logins)} C_Login and ${String(signs)} C_Sign in all`,
    );
    if (keep) sayHowToStop(demo, servers);
  } catch (error) {
    await cleanup.run();
    throw error;
  }
  if (keep) process.exit(0);
  await cleanup.run();
  say('Cleaned up.');
}

await main();
