/**
 * What a program in C gets: the installed header and library, found by pkg-config, and examples that work. Each
 * example checks its signatures with libcrypto; one that is wrong, or missing, is its exit code.
 */
import assert from 'node:assert/strict';
import { createVerify } from 'node:crypto';
import { once } from 'node:events';
import { readFileSync, readdirSync } from 'node:fs';
import { connect } from 'node:net';
import { buffer } from 'node:stream/consumers';
import path from 'node:path';
import { test } from 'node:test';
import { isRoot, serverUser } from './support/account.js';
import { accepts } from './support/agent.js';
import { auditOf } from './support/audit.js';
import { cleanupAfter, type Cleanup } from './support/cleanup.js';
import { mustRun } from './support/command.js';
import { Daemon } from './support/daemon.js';
import { deploy, type Deployment } from './support/deployment.js';
import { root } from './support/paths.js';
import { waitFor } from './support/wait.js';

const examples = path.join(root, 'clients/c/examples');
const library = path.join(root, 'build/lib');
const warnings = ['-Wall', '-Wextra', '-Wpedantic', '-Werror'];
const user = isRoot ? 'root' : serverUser().name;
const keys = [
  { label: 'rsa', type: 'rsa:2048' },
  { label: 'p256', type: 'EC:prime256v1' },
  { label: 'ed25519', type: 'EC:edwards25519' },
] as const;

async function pkgConfig(...args: string[]): Promise<string[]> {
  const env = { PKG_CONFIG_PATH: path.join(library, 'pkgconfig') };
  return (await mustRun('pkg-config', [...args, 'keyagent'], { env })).stdout.trim().split(/ +/);
}

/** Compiles an example as its reader would. @returns the program */
async function compile(name: string, folder: string): Promise<string> {
  const program = path.join(folder, name);
  const sources = [`${name}.c`, 'verify.c'].map((file) => path.join(examples, file));
  const flags = await pkgConfig('--cflags', '--libs');
  await mustRun('cc', [
    ...warnings,
    '-o',
    program,
    ...sources,
    ...flags,
    '-lcrypto',
    `-Wl,-rpath,${library}`,
  ]);
  return program;
}

function deployAll(cleanup: Cleanup): Promise<Deployment> {
  const users = [...new Set([user, serverUser().name])];
  const rules = [{ name: 'all', keys: 'pkcs11:', users, operations: ['sign'] }];
  return deploy(cleanup, { keys, agent: { rules } });
}

test('pkg-config names the installed header and library; there is no other than the shared one', async () => {
  assert.deepEqual(await pkgConfig('--cflags'), [`-I${path.join(root, 'build/include')}`]);
  assert.deepEqual(await pkgConfig('--libs'), [`-L${library}`, '-lkeyagent']);
  assert.deepEqual(
    readdirSync(library).filter((name) => name.startsWith('libkeyagent')),
    ['libkeyagent.so', 'libkeyagent.so.1', 'libkeyagent.so.1.0.0'],
  );
});

test('the header is C++ too', async () => {
  const header = path.join(root, 'build/include/keyagent.h');
  await mustRun('c++', [...warnings, '-fsyntax-only', '-x', 'c++', header]);
});

test("the README's C compiles", async () => {
  const [, code = ''] = /```c\n([^]*?)```/.exec(readFileSync(path.join(root, 'README.md'), 'utf8')) ?? [];
  assert.match(code, /ka_key_sign/);
  const flags = await pkgConfig('--cflags');
  await mustRun('cc', [...warnings, '-fsyntax-only', '-x', 'c', ...flags, '-'], { input: code });
});

test('the examples are those that are tested here', () => {
  assert.deepEqual(readdirSync(examples).sort(), [
    'poll-loop.c',
    'prefork-server.c',
    'thread-pool.c',
    'verify.c',
    'verify.h',
  ]);
});

test('a pool of threads, and a loop of requests that do not block, sign with every kind of key', async (t) => {
  const deployment = await deployAll(cleanupAfter(t));
  const env = { KEYAGENT_SOCK: deployment.agent.socket };
  const threadPool = await compile('thread-pool', deployment.folder);
  const pollLoop = await compile('poll-loop', deployment.folder);
  for (const { label } of keys) {
    const uri = deployment.uri(label, 'private');
    const pool = await mustRun(threadPool, [uri, '16', '160'], { env });
    assert.equal(pool.stdout, '16 threads, 160 of 160 signatures good\n');
    const loop = await mustRun(pollLoop, [uri, '100', '300'], { env });
    assert.equal(loop.stdout, '100 in flight, 300 of 300 signatures good\n');
  }
  assert.equal(signatures(deployment).length, keys.length * 460);
});

test('a locked token is the error of each request', async (t) => {
  const deployment = await deployAll(cleanupAfter(t));
  const env = { KEYAGENT_SOCK: deployment.agent.socket };
  await deployment.agent.mustKeyagent(['lock']);
  for (const example of ['thread-pool', 'poll-loop']) {
    const program = await compile(example, deployment.folder);
    const failed = mustRun(program, [deployment.uri('p256', 'private'), '3', '6'], { env });
    await assert.rejects(failed, /exit 1\n(message \d: LOCKED: .*\n){6}.*0 of 6 signatures good/);
  }
});

test(
  'a pre-forking server loads its key as root, and its children sign as who they are',
  { skip: isRoot ? false : 'needs root, to become another user' },
  async (t) => {
    const cleanup = cleanupAfter(t);
    const deployment = await deployAll(cleanup);
    const { agent, folder, token } = deployment;
    const socket = path.join(folder, 'server.sock');
    const command = await compile('prefork-server', folder);
    const server = new Daemon(cleanup, {
      command,
      args: [socket, deployment.uri('rsa', 'private'), serverUser().name, '4'],
      env: { KEYAGENT_SOCK: agent.socket },
      logFile: path.join(folder, 'server.log'),
    });
    await waitFor('the server listens', () => {
      server.mustRun();
      return accepts(socket);
    });
    const messages = Array.from({ length: 40 }, (_, number) => `message ${number}`);
    const answers = await Promise.all(messages.map((message) => ask(socket, message)));
    const publicKey = readFileSync(token.key('rsa').publicKeyFile);
    for (const [number, message] of messages.entries()) {
      const verify = createVerify('sha256').update(message);
      const pss = { key: publicKey, padding: 6, saltLength: 32 };
      assert.ok(verify.verify(pss, answers[number] ?? Buffer.alloc(0)), message);
    }
    const signed = signatures(deployment).filter(({ uid }) => uid === serverUser().uid);
    assert.ok(signed.length >= messages.length);
    assert.equal(signed.length, signatures(deployment).length, 'nothing was signed as root');
    server.signal('SIGTERM');
    assert.equal(await server.ended(), 0);
  },
);

/** Sends a message and reads what comes back. */
async function ask(socketPath: string, message: string): Promise<Buffer> {
  const socket = connect({ path: socketPath, allowHalfOpen: true });
  await once(socket, 'connect');
  socket.end(message);
  return buffer(socket);
}

function signatures({ agent }: Deployment): ReturnType<typeof auditOf> {
  return auditOf(agent).filter(({ event, outcome }) => event === 'sign' && outcome === 'ok');
}
