import assert from 'node:assert/strict';
import { execFileSync, spawn, spawnSync, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { closeSync, mkdtempSync, readFileSync, rmSync, statSync, symlinkSync, writeFileSync } from 'node:fs';
import { connect, createServer, type AddressInfo, type Socket } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, describe, test, type TestContext } from 'node:test';
import { setImmediate } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { native } from '@keyagent/agent/native/index.js';

const addon = JSON.stringify(fileURLToPath(import.meta.resolve('@keyagent/agent/native/index.js')));
const directory = mkdtempSync(join(tmpdir(), 'keyagent-native-'));
after(() => rmSync(directory, { recursive: true }));
const isRoot = process.getuid?.() === 0;
const timeout = 30_000;

function fdOf(socket: Socket): number {
  return (socket as unknown as { _handle: { fd: number } })._handle.fd;
}

/** Runs a module text in a Node of its own, where `native` is the addon. */
function run(text: string, options: { uid?: number; gid?: number } = {}, by: string[] = []): string {
  const source = `import { native } from ${addon};\n${text}`;
  const [command, ...args] = [...by, process.execPath, '--input-type=module', '--eval', source];
  return execFileSync(command, args, { encoding: 'utf8', cwd: '/', ...options }).trim();
}

/** A socket whose other end is a child that ran `script` and connected; all is taken down with the test. */
async function connectedChild(t: TestContext, before = ''): Promise<{ peer: Socket; child: ChildProcess }> {
  const path = join(mkdtempSync(join(directory, 'peer-')), 'socket');
  // Unread, a socket stays open although its peer has gone.
  const server = createServer({ pauseOnConnect: true }).listen(path);
  t.after(() => server.close());
  await once(server, 'listening');
  const script = `${before}; require('net').connect(${JSON.stringify(path)}).on('close', () => process.exit())`;
  const child = spawn(process.execPath, ['--eval', script], { stdio: 'ignore' });
  t.after(() => child.kill('SIGKILL'));
  const [peer] = (await once(server, 'connection')) as [Socket];
  t.after(() => peer.destroy());
  return { peer, child };
}

void describe('peerCredentials', { timeout }, () => {
  test('are the uid, gid, pid and groups of the process that connected', async (t) => {
    const { peer, child } = await connectedChild(t);
    const { uid, gid, pid, groups } = native.peerCredentials(fdOf(peer));
    assert.deepEqual([uid, gid, pid], [process.getuid?.(), process.getgid?.(), child.pid]);
    const supplementary = /^Groups:(.*)$/m.exec(readFileSync('/proc/self/status', 'utf8'))?.[1] ?? '';
    assert.deepEqual([...groups], supplementary.trim().split(/\s+/).filter(Boolean).map(Number));
  });

  test(
    'include supplementary groups that the peer has beside its own',
    { skip: !isRoot && 'needs root' },
    async (t) => {
      const { peer } = await connectedChild(t, 'process.setgroups([1234, 70000]); process.setgid(4242)');
      const { gid, groups } = native.peerCredentials(fdOf(peer));
      assert.equal(gid, 4242);
      assert.deepEqual([...groups], [1234, 70000]);
    },
  );

  test('are refused for what is no Unix socket', async (t) => {
    const tcp = createServer().listen(0, '127.0.0.1');
    t.after(() => tcp.close());
    await once(tcp, 'listening');
    const client = connect((tcp.address() as AddressInfo).port, '127.0.0.1');
    t.after(() => client.destroy());
    await once(client, 'connect');
    assert.throws(() => native.peerCredentials(fdOf(client)), { code: 'EAFNOSUPPORT' });
    assert.throws(() => native.peerCredentials(2 ** 31 - 1), { code: 'EBADF' });
    assert.throws(() => native.peerCredentials(-1), { code: 'ERR_OUT_OF_RANGE' });
    assert.throws(() => native.peerCredentials(1.5), { code: 'ERR_OUT_OF_RANGE' });
    assert.throws(() => native.peerCredentials('1' as unknown as number), { code: 'ERR_INVALID_ARG_TYPE' });
  });
});

void describe('peerIsAlive', { timeout }, () => {
  test('is true while the process that connected runs, then false; null where the kernel cannot tell', async (t) => {
    const { peer, child } = await connectedChild(t);
    const before = native.peerIsAlive(fdOf(peer));
    child.kill('SIGKILL');
    await once(child, 'exit');
    const after = native.peerIsAlive(fdOf(peer));
    assert.deepEqual([before, after], before === null ? [null, null] : [true, false]);
  });

  test('checks its argument', () => {
    assert.throws(() => native.peerIsAlive(-1), { code: 'ERR_OUT_OF_RANGE' });
    assert.throws(() => native.peerIsAlive(2 ** 31 - 1), { code: 'EBADF' });
  });
});

// To root every file is its own, and no limit holds: some tests need another user, who must be able to run this.
const nobody = isRoot ? { uid: 65534, gid: 65534 } : {};
const canRun = spawnSync(process.execPath, ['--input-type=module', '--eval', `import ${addon}`], {
  cwd: '/',
  ...nobody,
});
const unreachable = canRun.status !== 0 && 'needs a checkout that uid-65534 can read';

void describe('hardenProcess', { timeout }, () => {
  test(
    'makes the process undumpable, and with it its memory unreadable to its own uid',
    { skip: unreachable },
    () => {
      const owner = `(await import('node:fs')).statSync('/proc/self/mem').uid`;
      const own = isRoot ? 65534 : process.getuid?.();
      assert.equal(run(`console.log(${owner})`, nobody), String(own));
      assert.equal(run(`native.hardenProcess(); console.log(${owner})`, nobody), '0');
    },
  );

  const mayGive = { skip: isRoot ? unreachable : 'needs root, to give a capability' };
  test('keeps capabilities from the programs that the process starts', mayGive, () => {
    const has = [
      'setpriv',
      '--inh-caps=+sys_ptrace',
      '--ambient-caps=+sys_ptrace',
      '--reuid=65534',
      '--clear-groups',
    ];
    const child = `(await import('node:child_process')).execFileSync('grep', ['CapEff', '/proc/self/status'])`;
    const effective = (text: string): string => run(`${text} console.log(String(${child}))`, {}, has);
    assert.match(effective(''), /\t0{11}80000$/);
    assert.match(effective('native.hardenProcess();'), /\t0{16}$/);
  });

  test('sets the core limit to zero', () => {
    const limit = `(await import('node:fs')).readFileSync('/proc/self/limits', 'utf8').match(/core.*/)[0]`;
    const text = `native.hardenProcess(); console.log(${limit})`;
    assert.match(run(text), /size\s+0\s+0/);
  });
});

void describe('dieWithParent', { timeout }, () => {
  test('ends the process when its parent is killed', async () => {
    // The grandchild holds the pipe: it closes when the grandchild is gone.
    const grandchild = `import { native } from ${addon}; native.dieWithParent(); console.log('ready'); setInterval(() => {}, 1e6)`;
    const parent = `require('child_process').spawn(process.execPath, ['--input-type=module', '--eval', ${JSON.stringify(grandchild)}],
      { stdio: ['ignore', 'inherit', 'inherit'] })`;
    const child = spawn(process.execPath, ['--eval', parent], { stdio: ['ignore', 'pipe', 'inherit'] });
    await once(child.stdout, 'data');
    child.kill('SIGKILL');
    await once(child.stdout, 'close');
  });
});

void describe('notify', { timeout }, () => {
  for (const [kind, address] of [
    ['a path', join(directory, 'notify.sock')],
    ['an abstract name', `@keyagent-test-${process.pid}`],
  ] as const) {
    test(`sends one datagram to ${kind}, from this process`, async (t) => {
      const receiver = `import os, socket, sys
s = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
s.setsockopt(socket.SOL_SOCKET, socket.SO_PASSCRED, 1)
a = sys.argv[1]
s.bind('\\0' + a[1:] if a[0] == '@' else a)
print('bound', flush=True)
data, ancillary, _, _ = s.recvmsg(4096, socket.CMSG_SPACE(12))
print(int.from_bytes(ancillary[0][2][:4], sys.byteorder), data.decode(), end='')`;
      const child = spawn('python3', ['-c', receiver, address], { stdio: ['ignore', 'pipe', 'inherit'] });
      t.after(() => child.kill());
      let output = '';
      child.stdout.on('data', (chunk: Buffer) => (output += chunk.toString()));
      await once(child.stdout, 'data');
      native.notify(address, 'READY=1\nSTATUS=locked');
      await once(child, 'close');
      assert.equal(output, `bound\n${process.pid} READY=1\nSTATUS=locked`);
    });
  }

  test('says when nobody listens, and refuses what is no address', () => {
    assert.throws(() => native.notify(join(directory, 'nobody.sock'), 'READY=1'), { code: 'ENOENT' });
    assert.throws(() => native.notify('relative', 'READY=1'), { code: 'EAFNOSUPPORT' });
    assert.throws(() => native.notify('', 'READY=1'), { code: 'EAFNOSUPPORT' });
    assert.throws(() => native.notify(`/${'x'.repeat(200)}`, 'READY=1'), { code: 'ERR_OUT_OF_RANGE' });
    assert.throws(() => native.notify('@a\0b', 'READY=1'), { code: 'ERR_INVALID_ARG_TYPE' });
    assert.throws(() => native.notify('@a', 'x'.repeat(4096)), { code: 'ERR_OUT_OF_RANGE' });
  });
});

/** Of this process: memory that is locked, not dumped and zeroed in a forked child (proc(5), VmFlags). */
function lockedMappings(): number {
  const maps = readFileSync('/proc/self/smaps', 'utf8').split(/^(?=[0-9a-f]+-[0-9a-f]+ )/m);
  const flags = maps.map((map) => /^VmFlags: (.*)$/m.exec(map)?.[1]?.trim().split(' ') ?? []);
  return flags.filter((set) => ['lo', 'dd', 'wf'].every((flag) => set.includes(flag))).length;
}

void describe('secretBytes and wipeSecret', { timeout }, () => {
  test('give memory that is locked, out of dumps and out of children, and take it back at once', async () => {
    assert.equal(lockedMappings(), 0);
    const secrets = Array.from({ length: 20 }, () => native.secretBytes(200));
    assert.ok(lockedMappings() > 0);
    for (const [i, secret] of secrets.entries()) secret.fill(i + 1);
    for (const [i, secret] of secrets.entries()) assert.deepEqual(secret, Buffer.alloc(200, i + 1));
    for (const secret of secrets) native.wipeSecret(secret);
    assert.deepEqual(
      secrets.map(({ length }) => length),
      Array<number>(20).fill(0),
    );
    await setImmediate();
    assert.equal(lockedMappings(), 0);
    for (const secret of secrets) native.wipeSecret(secret);
  });

  test('give zeroes, also after others used the same memory, and none of a forgotten one stays locked', () => {
    const script = `
      const first = native.secretBytes(512).fill(7);
      native.wipeSecret(first.subarray(100));
      await new Promise((resolve) => setImmediate(resolve));
      console.log(native.secretBytes(512).some((byte) => byte !== 0));
      for (let i = 0; i < 10_000; i++) native.secretBytes(512).fill(1);
      gc(); await new Promise((resolve) => setImmediate(resolve));
      const locked = /^VmLck:\\s+(\\d+) kB/m.exec(readFileSync('/proc/self/status', 'utf8'))[1];
      console.log(Number(locked) <= 64);`;
    const source = `import { native } from ${addon}; import { readFileSync } from 'node:fs';\n${script}`;
    const args = ['--expose-gc', '--input-type=module', '--eval', source];
    assert.equal(execFileSync(process.execPath, args, { encoding: 'utf8', cwd: '/' }), 'false\ntrue\n');
  });

  test('wipe other memory too, and only the bytes that they were given', () => {
    const bytes = Buffer.from('123456');
    native.wipeSecret(bytes.subarray(1, 3));
    assert.equal(bytes.toString('latin1'), '1\0\x00456');
    native.wipeSecret(Buffer.alloc(0));
    assert.throws(() => native.secretBytes(513), { code: 'ERR_OUT_OF_RANGE' });
    assert.throws(() => native.wipeSecret('1234' as never), { code: 'ERR_INVALID_ARG_TYPE' });
    assert.equal(native.secretBytes(0).length, 0);
  });

  test('say so where nothing may be locked', { skip: isRoot ? unreachable : 'needs root' }, () => {
    const source = `import { native } from ${addon};
      try { native.secretBytes(1); console.log('given') } catch ({ code }) { console.log(code) }`;
    const args = ['--memlock=0', process.execPath, '--input-type=module', '--eval', source];
    const output = execFileSync('prlimit', args, { encoding: 'utf8', cwd: '/', uid: 65534, gid: 65534 });
    assert.equal(output, 'EPERM\n');
  });
});

void describe('writeSecret and readSecret', { timeout }, () => {
  /** A Node with a socketpair to itself would need the addon; a child's stdio is one. */
  const withPair = (text: string): string => {
    const receiver = `let all = Buffer.alloc(0); process.stdin.on('data', (d) => all = Buffer.concat([all, d])).on('end', () => console.log(all.toString('hex')))`;
    return run(`import { spawn } from 'node:child_process'; import { once } from 'node:events';
      const child = spawn(process.execPath, ['--eval', ${JSON.stringify(receiver)}], { stdio: ['pipe', 'pipe', 'inherit'] });
      const fd = child.stdin._handle.fd;
      ${text}
      child.stdin.end();
      const [output] = await once(child.stdout, 'data'); console.log(output.toString().trim());`);
  };

  test('write a two-byte length and the bytes', () => {
    assert.equal(withPair(`native.writeSecret(fd, Buffer.from('1234'));`), '000431323334');
    assert.equal(withPair(`native.writeSecret(fd, Buffer.alloc(0));`), '0000');
    assert.equal(withPair(`native.writeSecret(fd, new Uint8Array(256).fill(7));`), `0100${'07'.repeat(256)}`);
  });

  test('refuse a secret that is too long, and what is no descriptor of a socket', () => {
    assert.throws(() => native.writeSecret(2 ** 31 - 1, Buffer.alloc(4)), { code: 'EBADF' });
    assert.throws(() => native.writeSecret(0, Buffer.alloc(257)), { code: 'ERR_OUT_OF_RANGE' });
    assert.throws(() => native.writeSecret(0, '1234' as never), { code: 'ERR_INVALID_ARG_TYPE' });
  });

  test('take exactly one secret from the descriptor, or say why not', () => {
    const file = join(directory, 'secrets');
    const script = `import { native } from ${addon}; import { readSync } from 'node:fs';
      console.log(native.readSecret(0).toString(), native.readSecret(0).length);
      const rest = Buffer.alloc(4); readSync(0, rest); console.log(rest.toString('hex'));
      try { native.readSecret(0) } catch (error) { console.log(error.code) }
      try { native.readSecret(0) } catch (error) { console.log(error.code) }`;
    writeFileSync(file, Buffer.from('000431323334' + '0000' + 'aabbccdd' + '0101', 'hex'));
    const args = ['-c', '"$0" --input-type=module --eval "$1" < "$2"', process.execPath, script, file];
    const { stdout } = spawnSync('sh', args, { encoding: 'utf8' });
    assert.equal(stdout, '1234 0\naabbccdd\nEMSGSIZE\nEPIPE\n');
  });
});

void describe('lockFile', { timeout }, () => {
  const attempt = (file: string): string =>
    run(
      `try { native.lockFile(${JSON.stringify(file)}); console.log('held') } catch (error) { console.log(error.code) }`,
    );

  test('keeps a file from other processes until it is closed', () => {
    const file = join(directory, 'lock');
    const fd = native.lockFile(file);
    assert.equal(statSync(file).mode & 0o777, 0o600);
    assert.equal(attempt(file), 'EAGAIN');
    closeSync(fd);
    assert.equal(attempt(file), 'held');
  });

  test('is not inherited: a child that lives on holds nothing', (t) => {
    const file = join(directory, 'lock of a parent');
    const child = `import { spawn } from 'node:child_process';
      native.lockFile(${JSON.stringify(file)});
      const heir = spawn('sleep', ['600'], { stdio: 'ignore', detached: true }); heir.unref(); console.log(heir.pid);`;
    const heir = Number(run(child));
    t.after(() => process.kill(heir));
    assert.equal(attempt(file), 'held');
  });

  test('follows no link and takes no directory', () => {
    symlinkSync(join(directory, 'elsewhere'), join(directory, 'link'));
    assert.throws(() => native.lockFile(join(directory, 'link')), { code: 'ELOOP' });
    assert.throws(() => native.lockFile(directory), { code: 'EISDIR' });
  });
});
