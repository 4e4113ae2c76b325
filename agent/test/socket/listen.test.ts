import assert from 'node:assert/strict';
import { once } from 'node:events';
import {
  chmodSync,
  chownSync,
  existsSync,
  lchownSync,
  lstatSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  rmSync,
  statSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { connect, createServer } from 'node:net';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { test, type TestContext } from 'node:test';
import type { AgentError } from '@keyagent/protocol';
import { bindSocket, type ListenAddress, type Listener } from '@keyagent/agent/socket/listen.js';
import { BinderProcess } from './binder-process.js';
import { watchStarts } from './start-modes.js';

const isRoot = process.getuid?.() === 0;
const asRoot = { skip: !isRoot && 'needs root, to make directories of other users' };
const stranger = 4242;

function scratch(t: TestContext): string {
  const folder = mkdtempSync(path.join(tmpdir(), 'keyagent-listen-'));
  t.after(() => rmSync(folder, { recursive: true }));
  return folder;
}

function bind(socket: string, mode = 0o660, gid?: number): Promise<Listener> {
  return bindSocket({ path: socket, mode, gid }, (peer) => peer.destroy());
}

async function answers(socket: string): Promise<boolean> {
  const peer = connect(socket);
  await once(peer, 'connect');
  peer.destroy();
  return true;
}

function refused(message: RegExp): (error: AgentError) => boolean {
  return ({ code, message: said }) => {
    assert.equal(code, 'CONFIGURATION');
    assert.match(said, message);
    return true;
  };
}

const modeOf = (file: string): number => lstatSync(file).mode & 0o7777;

test('a socket has its mode and group, and goes with its listener', async (t) => {
  const socket = path.join(scratch(t), 'agent.sock');
  const gid = isRoot ? stranger : undefined;
  const listener = await bind(socket, 0o640, gid);
  assert.equal(modeOf(socket), 0o640);
  if (gid !== undefined) assert.equal(lstatSync(socket).gid, gid);
  assert.equal(modeOf(`${socket}.lock`), 0o600);
  assert.ok(await answers(socket));
  listener.close();
  assert.equal(existsSync(socket), false);
});

test('a directory that is missing is made for the group of the socket, whatever the umask', async (t) => {
  const folder = scratch(t);
  const before = process.umask(0o077);
  t.after(() => process.umask(before));
  const gid = isRoot ? stranger : undefined;
  const listener = await bind(path.join(folder, 'run/keyagent/agent.sock'), 0o660, gid);
  for (const made of ['run', 'run/keyagent']) {
    assert.equal(modeOf(path.join(folder, made)), 0o750);
    if (gid !== undefined) assert.equal(statSync(path.join(folder, made)).gid, gid);
  }
  assert.equal(process.umask(0o077), 0o077, 'the umask is as it was');
  listener.close();
});

test('a directory that is made for sockets of several groups lets everybody pass', asRoot, async (t) => {
  const folder = path.join(scratch(t), 'run');
  const address = (name: string, mode: number, gid: number): ListenAddress => ({
    path: path.join(folder, name),
    mode,
    gid,
  });
  const operators = address('control.sock', 0o600, 0);
  for (const [others, mode] of [
    [[operators], 0o750],
    [[operators, address('other.sock', 0o660, stranger + 1)], 0o755],
  ] as const) {
    const client = address('agent.sock', 0o660, stranger);
    const listener = await bindSocket(client, (peer) => peer.destroy(), [client, ...others]);
    assert.equal(modeOf(folder), mode);
    listener.close();
    rmSync(folder, { recursive: true });
  }
});

test('of processes that bind at the same time one wins, and the others take nothing from it', async (t) => {
  const socket = path.join(scratch(t), 'agent.sock');
  const binders = await Promise.all(Array.from({ length: 4 }, () => BinderProcess.start(t, socket)));
  for (let round = 0; round < 100; round++) {
    const results = await Promise.all(binders.map((binder) => binder.bind()));
    const losers = results.filter((result) => result !== 'bound');
    assert.deepEqual(
      losers,
      Array<string>(3).fill(`an agent already listens on ${socket}; stop it first (keyagent stop)`),
      `round ${round}`,
    );
    assert.ok(await answers(socket));
    const winner = binders[results.indexOf('bound')];
    await winner?.close();
    assert.equal(existsSync(socket), false);
  }
});

test('a process that was killed leaves nothing that keeps the next one out', async (t) => {
  const socket = path.join(scratch(t), 'agent.sock');
  const [first, second] = await Promise.all([BinderProcess.start(t, socket), BinderProcess.start(t, socket)]);
  assert.equal(await first.bind(), 'bound');
  assert.match(await second.bind(), /already listens/);
  await first.kill();
  assert.ok(existsSync(socket), 'the dead socket is still there');
  assert.equal(await second.bind(), 'bound');
  assert.ok(await answers(socket));
});

test('a listener that somebody else has, and a file that is no socket, are left as they are', async (t) => {
  const folder = scratch(t);
  const live = path.join(folder, 'live.sock');
  const server = createServer((socket) => socket.destroy()).listen(live);
  t.after(() => server.close());
  await once(server, 'listening');
  await assert.rejects(bind(live), refused(/an agent already listens/));
  assert.ok(await answers(live));

  const file = path.join(folder, 'file');
  writeFileSync(file, 'precious');
  await assert.rejects(bind(file), refused(/exists and is not a socket/));
  assert.equal(statSync(file).size, 8);
});

test('a listener removes no socket that took the place of its own', async (t) => {
  const socket = path.join(scratch(t), 'agent.sock');
  const listener = await bind(socket);
  rmSync(socket);
  const other = createServer().listen(socket);
  t.after(() => other.close());
  await once(other, 'listening');
  listener.close();
  assert.ok(existsSync(socket));
});

test('a link in place of the socket or of its lock is not followed', async (t) => {
  const folder = scratch(t);
  const target = path.join(folder, 'target');
  writeFileSync(target, 'precious', { mode: 0o600 });
  const socket = path.join(folder, 'agent.sock');
  symlinkSync(target, socket);
  await assert.rejects(bind(socket), refused(/exists and is not a socket/));
  rmSync(socket);
  rmSync(`${socket}.lock`);
  symlinkSync(target, `${socket}.lock`);
  await assert.rejects(bind(socket), refused(/\.lock cannot be used/));
  rmSync(`${socket}.lock`);
  symlinkSync(target, `${socket}.new`);
  (await bind(socket)).close();
  assert.deepEqual([statSync(target).size, modeOf(target)], [8, 0o600]);
});

test('a directory in which others can swap the socket is refused', async (t) => {
  const folder = scratch(t);
  const shared = path.join(folder, 'shared');
  mkdirSync(shared);
  for (const mode of [0o777, 0o770, 0o1777]) {
    chmodSync(shared, mode);
    await assert.rejects(
      bind(path.join(shared, 's')),
      refused(/shared: mode \d+ lets others write to it; chmod go-w it: others could swap the socket/),
      mode.toString(8),
    );
  }
  const real = path.join(folder, 'real');
  mkdirSync(real);
  symlinkSync(real, path.join(folder, 'link'));
  await assert.rejects(bind(path.join(folder, 'link/s')), refused(/is a link to one/));
  assert.deepEqual([existsSync(path.join(shared, 's')), existsSync(path.join(real, 's'))], [false, false]);
});

test('so is one below a directory that others can swap, and one of another user', asRoot, async (t) => {
  const folder = scratch(t);
  const below = path.join(folder, 'above/run');
  mkdirSync(below, { recursive: true });
  chmodSync(path.join(folder, 'above'), 0o777);
  await assert.rejects(bind(path.join(below, 's')), refused(/above: mode 0777 lets others/));
  chmodSync(path.join(folder, 'above'), 0o755);
  chownSync(path.join(folder, 'above'), stranger, 0);
  await assert.rejects(bind(path.join(below, 's')), refused(/above: belongs to uid/));
  chownSync(path.join(folder, 'above'), 0, 0);
  chownSync(below, stranger, 0);
  await assert.rejects(bind(path.join(below, 's')), refused(/run: belongs to uid/));
  // A link of theirs on the way, as anybody can make one in /tmp.
  chownSync(below, 0, 0);
  const link = path.join(folder, 'way');
  symlinkSync(path.join(folder, 'above'), link);
  (await bind(path.join(link, 'run/s'))).close();
  rmSync(link);
  const theirs = path.join(folder, 'theirs');
  mkdirSync(theirs);
  symlinkSync(path.join(folder, 'above'), path.join(theirs, 'way'));
  chownSync(theirs, stranger, 0);
  await assert.rejects(bind(path.join(theirs, 'way/run/s')), refused(/theirs: belongs to uid/));
  // Nor one that a link of ours leads through.
  chownSync(theirs, 0, 0);
  symlinkSync('theirs/way', path.join(folder, 'first'));
  const first = path.join(folder, 'first/run/s');
  (await bind(first)).close();
  chmodSync(theirs, 0o777);
  await assert.rejects(bind(first), refused(/theirs: mode 0777 lets others/));
  chmodSync(theirs, 0o1777);
  (await bind(first)).close();
  lchownSync(path.join(theirs, 'way'), stranger, 0);
  await assert.rejects(bind(first), refused(/way: belongs to uid/));
});

test(
  'what the kernel refuses is said as a fault of the configuration, and leaves nothing',
  asRoot,
  async (t) => {
    const folder = scratch(t);
    const socket = path.join(folder, 'agent.sock');
    chownSync(folder, stranger, 0);
    process.seteuid?.(stranger);
    try {
      await assert.rejects(bind(socket, 0o660, stranger), refused(/EPERM.* let systemd make it/));
    } finally {
      process.seteuid?.(0);
    }
    assert.deepEqual(readdirSync(folder), ['agent.sock.lock']);
  },
);

test('a path of 103 bytes is bound as it is', async (t) => {
  const folder = scratch(t);
  const socket = path.join(folder, 'x'.repeat(103 - folder.length - 1));
  const listener = await bind(socket);
  assert.ok(await answers(socket));
  listener.close();
});

test('at no moment of 10,000 starts is the mode wider than configured', async (t) => {
  const { modes } = await watchStarts(10_000, 0o640);
  t.diagnostic(`seen: ${JSON.stringify(modes)}`);
  assert.ok((modes['0640'] ?? 0) > 1000, 'the watcher kept up');
  const wider = Object.keys(modes).filter((mode) => (Number.parseInt(mode, 8) & ~0o640) !== 0);
  assert.deepEqual(wider, []);
});
