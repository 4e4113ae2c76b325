import assert from 'node:assert/strict';
import { chmodSync, lstatSync, mkdtempSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test, type TestContext } from 'node:test';
import {
  reasonForDistrust,
  refuseUntrustedSocket,
  type PathFacts,
  type SocketPlace,
} from '@keyagent/protocol';

const socket = (uid: number): PathFacts => ({ uid, mode: 0o140660 });
const directory = (uid: number, permissions = 0o755): PathFacts => ({ uid, mode: 0o040000 | permissions });
const link = (uid: number): PathFacts => ({ uid, mode: 0o120777 });

const root = 0;
const self = 1000;
const agent = 990;
const stranger = 1001;

const places: readonly [name: string, place: SocketPlace, trusted: boolean][] = [
  ["root's socket", { socket: socket(root), directory: directory(root), above: directory(root) }, true],
  [
    "root's socket in /tmp",
    { socket: socket(root), directory: directory(root, 0o1777), above: directory(root) },
    true,
  ],
  [
    "this user's socket",
    { socket: socket(self), directory: directory(self, 0o700), above: directory(root) },
    true,
  ],
  [
    "this user's socket in /tmp",
    { socket: socket(self), directory: directory(root, 0o1777), above: directory(root) },
    true,
  ],
  [
    "the agent's in /run/keyagent",
    { socket: socket(agent), directory: directory(agent), above: directory(root) },
    true,
  ],
  [
    "the agent's in a directory that this user made for it",
    { socket: socket(agent), directory: directory(agent), above: directory(self) },
    true,
  ],
  [
    "a stranger's in /tmp",
    { socket: socket(stranger), directory: directory(root, 0o1777), above: directory(root) },
    false,
  ],
  [
    "a stranger's in a directory of its own in /tmp",
    { socket: socket(stranger), directory: directory(stranger), above: directory(root, 0o1777) },
    false,
  ],
  [
    "a stranger's in its home's subdirectory",
    { socket: socket(stranger), directory: directory(stranger), above: directory(stranger) },
    false,
  ],
  [
    "a stranger's in the agent's directory",
    { socket: socket(stranger), directory: directory(agent), above: directory(root) },
    false,
  ],
  [
    "the agent's where its group can write",
    { socket: socket(agent), directory: directory(agent, 0o775), above: directory(root) },
    false,
  ],
  [
    "the agent's where everybody can write",
    { socket: socket(agent), directory: directory(agent, 0o757), above: directory(root) },
    false,
  ],
  [
    "the agent's where a group can write above",
    { socket: socket(agent), directory: directory(agent), above: directory(root, 0o775) },
    false,
  ],
  [
    'a directory that is a link',
    { socket: socket(agent), directory: link(agent), above: directory(root) },
    false,
  ],
  [
    'a socket that is a link',
    { socket: link(root), directory: directory(root), above: directory(root) },
    false,
  ],
  [
    'a file',
    { socket: { uid: root, mode: 0o100600 }, directory: directory(root), above: directory(root) },
    false,
  ],
];

test('a socket is trusted by its owner and its place', async (t) => {
  for (const [name, place, trusted] of places) {
    await t.test(`${name}: ${trusted ? 'trusted' : 'untrusted'}`, () => {
      assert.equal(reasonForDistrust(place, { euid: self, others: [] }) === undefined, trusted);
    });
  }
});

test('an owner that the program was told to trust is trusted anywhere', () => {
  const place = { socket: socket(stranger), directory: directory(root, 0o1777), above: directory(root) };
  assert.equal(reasonForDistrust(place, { euid: self, others: [stranger] }), undefined);
});

async function listen(t: TestContext): Promise<string> {
  const path = mkdtempSync(join(tmpdir(), 'keyagent-trust-'));
  const server = createServer();
  await new Promise<void>((resolve) => server.listen(join(path, 'agent.sock'), resolve));
  t.after(() => {
    server.close();
    rmSync(path, { recursive: true });
  });
  return join(path, 'agent.sock');
}

test('refuseUntrustedSocket looks at real paths', async (t) => {
  const path = await listen(t);
  const { uid } = lstatSync(path);
  refuseUntrustedSocket(path, { euid: uid, others: [] });
  symlinkSync(path, `${path}.link`);
  assert.throws(() => refuseUntrustedSocket(`${path}.link`, { euid: uid, others: [] }), {
    code: 'UNTRUSTED',
  });
  writeFileSync(`${path}.file`, '');
  assert.throws(() => refuseUntrustedSocket(`${path}.file`, { euid: uid, others: [] }), {
    code: 'UNTRUSTED',
  });
  assert.throws(() => refuseUntrustedSocket(`${path}.none`, { euid: uid, others: [] }), {
    code: 'UNAVAILABLE',
    message: /ENOENT.*start keyagentd/,
  });
});

test('refuseUntrustedSocket refuses a path in a temporary directory to another user', async (t) => {
  const path = await listen(t);
  chmodSync(path, 0o666);
  const { uid } = lstatSync(path);
  const check = (): void => refuseUntrustedSocket(path, { euid: uid + 1, others: [] });
  // Root's socket is everybody's to trust; anybody else's is not, in a directory under /tmp.
  if (uid === 0) check();
  else assert.throws(check, { code: 'UNTRUSTED', message: /belongs to uid/ });
});
