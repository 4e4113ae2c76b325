import assert from 'node:assert/strict';
import { spawn, spawnSync, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, mkdtempSync, rmSync, symlinkSync } from 'node:fs';
import { createServer, type Server, type Socket } from 'node:net';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { after, before, describe, it } from 'node:test';
import { fileURLToPath } from 'node:url';
import { native } from '@keyagent/agent/native/index.js';
import type { Peer } from '@keyagent/agent/policy/peer.js';
import { identify } from '@keyagent/agent/socket/peer.js';

const folder = mkdtempSync(path.join(tmpdir(), 'keyagent-peer-'));
const socketPath = path.join(folder, 'socket');
const program =
  'require("node:net").connect(process.argv[1]); process.stdin.resume().on("end", () => process.exit())';

const choosesPids = process.getuid?.() === 0 && existsSync('/proc/sys/kernel/ns_last_pid');

describe('identify', () => {
  let server: Server;
  before(async () => {
    server = createServer({ allowHalfOpen: true }).listen(socketPath);
    await once(server, 'listening');
  });
  after(() => {
    server.close();
    rmSync(folder, { recursive: true });
  });

  async function connected(
    alive = native.peerIsAlive,
  ): Promise<{ child: ChildProcess; socket: Socket; peer: Peer }> {
    const child = spawn(process.execPath, ['-e', program, socketPath], {
      stdio: ['pipe', 'inherit', 'inherit'],
    });
    const [socket] = (await once(server, 'connection')) as [Socket];
    return { child, socket, peer: identify(socket, 65534, alive) };
  }

  async function end({ child }: { child: ChildProcess }): Promise<void> {
    child.stdin?.end();
    await once(child, 'exit');
  }

  for (const [kernel, alive] of [
    ['a kernel with SO_PEERPIDFD', native.peerIsAlive],
    ['an older kernel', () => null],
  ] as const) {
    it(`knows the process and the executable of a peer on ${kernel}`, async () => {
      const one = await connected(alive);
      assert.deepEqual([one.peer.pid, one.peer.uid], [one.child.pid, process.getuid?.()]);
      assert.deepEqual([one.peer.exe, one.peer.sure], [process.execPath, true]);
      for (let decision = 0; decision < 3; decision++) {
        const seen = one.peer.program?.();
        assert.equal(seen?.doubt, undefined);
        assert.equal(seen?.runs(process.execPath), true);
        assert.equal(seen.runs('/bin/sh'), false);
        assert.equal(seen.runs('/no/such/file'), false);
        await Promise.resolve();
      }
      await end(one);
      one.socket.destroy();
    });

    it(`doubts a peer whose process has ended on ${kernel}, and says why`, async () => {
      const one = await connected(alive);
      one.peer.program?.();
      await end(one);
      const seen = one.peer.program?.();
      assert.equal(seen?.runs(process.execPath), false);
      assert.match(String(one.peer.sure), /has ended|cannot see the process/);
      one.socket.destroy();
    });
  }

  it(
    'tells by its start time a process that got the pid of the peer on an older kernel',
    { skip: !choosesPids && 'needs root, and a kernel that lets it choose a pid' },
    () => {
      const reused = fileURLToPath(new URL('reused-pid.js', import.meta.url));
      const args = ['--pid', '--fork', '--kill-child', '--mount-proc'];
      const { stdout, stderr } = spawnSync(
        'unshare',
        [...args, process.execPath, reused, path.join(folder, 'reused')],
        { encoding: 'utf8' },
      );
      assert.deepEqual(
        JSON.parse(stdout),
        {
          isReused: true,
          before: { runs: true, sure: true },
          after: { runs: false, sure: 'another process has the pid of the one that connected' },
        },
        stderr,
      );
    },
  );

  it('looks once for all rules of a decision, and again for the next', async () => {
    const one = await connected();
    const first = one.peer.program?.();
    await end(one);
    await Promise.resolve();
    assert.equal(first?.doubt, undefined);
    assert.equal(one.peer.program?.().doubt, 'the process that connected has ended');
    assert.equal(one.peer.program(), one.peer.program());
    one.socket.destroy();
  });

  it('marks the overflow uid', async () => {
    const one = await connected();
    assert.equal(one.peer.unmapped, false);
    assert.equal(identify(one.socket, process.getuid?.() ?? -1).unmapped, true);
    await end(one);
    one.socket.destroy();
  });
});

describe('fileIdentity', () => {
  it('is the same for every path to a file, and differs between files', () => {
    const link = path.join(tmpdir(), `keyagent-link-${process.pid}`);
    symlinkSync(process.execPath, link);
    try {
      assert.equal(native.fileIdentity(link), native.fileIdentity(process.execPath));
      assert.equal(native.fileIdentity('/proc/self/exe'), native.fileIdentity(process.execPath));
      assert.notEqual(native.fileIdentity('/bin/sh'), native.fileIdentity(process.execPath));
    } finally {
      rmSync(link);
    }
  });

  it('throws what the kernel says', () => {
    assert.throws(() => native.fileIdentity('/no/such/file'), { code: 'ENOENT' });
    assert.throws(() => native.fileIdentity('/bin/sh/x'), { code: 'ENOTDIR' });
    assert.throws(() => native.peerIsAlive(0x7fffffff), { code: 'EBADF' });
  });
});
