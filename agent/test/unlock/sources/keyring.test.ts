import assert from 'node:assert/strict';
import { readdir, readFile } from 'node:fs/promises';
import { after, before, describe, it } from 'node:test';
import { KeyringSource } from '@keyagent/agent/unlock/sources/keyring.js';
import { PrivateKeyring, setEnv } from './private-keyring.js';

const item = { service: 'keyagent', account: 'web' };
describe('keyring source', () => {
  let keyring: PrivateKeyring;
  let leave: () => void;

  before(async () => {
    keyring = await PrivateKeyring.start();
    leave = keyring.enter();
  });
  after(async () => {
    leave();
    await keyring.stop();
  });

  it('gives back the bytes that were stored', async () => {
    const source = new KeyringSource(item);
    await source.store(Buffer.from('12 34\u00fc'));
    assert.deepEqual([...(await source.pin())], [0x31, 0x32, 0x20, 0x33, 0x34, 0xc3, 0xbc]);
  });

  it('replaces a PIN', async () => {
    const source = new KeyringSource(item);
    await source.store(Buffer.from('first'));
    await source.store(Buffer.from('second'));
    assert.equal((await source.pin()).toString(), 'second');
  });

  it('keeps items of other accounts and services apart', async () => {
    await new KeyringSource(item).store(Buffer.from('mine'));
    await assert.rejects(new KeyringSource({ ...item, account: 'other' }).pin(), { code: 'SOURCE_FAILED' });
    await assert.rejects(new KeyringSource({ ...item, service: 'other' }).pin(), { code: 'SOURCE_FAILED' });
  });

  it('deletes an item once', async () => {
    const source = new KeyringSource({ ...item, account: 'short-lived' });
    await source.store(Buffer.from('1234'));
    assert.equal(await source.delete(), true);
    assert.equal(await source.delete(), false);
    await assert.rejects(source.pin(), {
      code: 'SOURCE_FAILED',
      message: /^the keyring holds no item keyagent\/short-lived; store the PIN/,
    });
  });

  it('refuses to store what a keyring cannot hold', async () => {
    const source = new KeyringSource(item);
    await assert.rejects(source.store(Buffer.from([0xff, 0xfe])), { code: 'INVALID' });
    await assert.rejects(source.store(Buffer.from('12\0' + '34')), { code: 'INVALID' });
  });

  it('says that there is no D-Bus session', async () => {
    const { DBUS_SESSION_BUS_ADDRESS, XDG_RUNTIME_DIR } = process.env;
    try {
      setEnv('DBUS_SESSION_BUS_ADDRESS', undefined);
      await assert.rejects(new KeyringSource(item).pin(), {
        code: 'SOURCE_FAILED',
        message: /no D-Bus session/,
      });
      setEnv('XDG_RUNTIME_DIR', undefined);
      await assert.rejects(new KeyringSource(item).pin(), {
        code: 'SOURCE_FAILED',
        message: /no D-Bus session/,
      });
    } finally {
      setEnv('DBUS_SESSION_BUS_ADDRESS', DBUS_SESSION_BUS_ADDRESS);
      setEnv('XDG_RUNTIME_DIR', XDG_RUNTIME_DIR);
    }
  });

  it('passes on why the bus does not answer', async () => {
    const { DBUS_SESSION_BUS_ADDRESS } = process.env;
    try {
      setEnv('DBUS_SESSION_BUS_ADDRESS', `unix:path=${keyring.home}/gone`);
      await assert.rejects(new KeyringSource(item).pin(), {
        code: 'SOURCE_FAILED',
        message: /the keyring failed: Could not connect.*; check that a Secret Service/,
      });
    } finally {
      setEnv('DBUS_SESSION_BUS_ADDRESS', DBUS_SESSION_BUS_ADDRESS);
    }
  });

  it('kills the child at its deadline, and no process shows the PIN meanwhile', async (t) => {
    t.mock.timers.enable({ apis: ['setTimeout'] });
    keyring.daemon.kill('SIGSTOP');
    try {
      const source = new KeyringSource(item, 1500);
      const stored = assert.rejects(source.store(Buffer.from('hidden-pin-7531')), {
        code: 'SOURCE_FAILED',
        message: /did not answer in time/,
      });
      const child = await childOf(process.pid, 'keyring-child.js');
      const shown = await Promise.all(
        ['cmdline', 'environ'].map((file) => readFile(`/proc/${child}/${file}`, 'latin1')),
      );
      assert.match(shown[0] ?? '', /keyring-child\.js\0set\0keyagent\0web/);
      for (const text of shown) assert.ok(!text.includes('hidden-pin-7531'));
      t.mock.timers.tick(1500);
      await stored;
      await assert.rejects(readFile(`/proc/${child}/cmdline`), { code: 'ENOENT' });
    } finally {
      keyring.daemon.kill('SIGCONT');
    }
  });

  it('stops waiting when the signal says so', async () => {
    keyring.daemon.kill('SIGSTOP');
    try {
      await assert.rejects(new KeyringSource(item).pin(AbortSignal.timeout(100)), { code: 'SOURCE_FAILED' });
      await assert.rejects(new KeyringSource(item).pin(AbortSignal.abort()), { code: 'SOURCE_FAILED' });
    } finally {
      keyring.daemon.kill('SIGCONT');
    }
  });

  // Last: nobody can answer the daemon's question for the password here.
  it('tells an item in a locked collection from one that is missing', async () => {
    const source = new KeyringSource(item);
    await source.store(Buffer.from('1234'));
    await keyring.lock();
    await assert.rejects(source.pin(), {
      code: 'SOURCE_FAILED',
      message: /^the keyring item keyagent\/web is in a locked collection; unlock the keyring$/,
    });
    await assert.rejects(source.delete(), { code: 'SOURCE_FAILED', message: /in a locked collection/ });
    await assert.rejects(new KeyringSource({ ...item, account: 'missing' }).pin(), {
      code: 'SOURCE_FAILED',
      message: /holds no item keyagent\/missing/,
    });
    await assert.rejects(source.store(Buffer.from('5678')), {
      code: 'SOURCE_FAILED',
      message: /locked collection/,
    });
  });
});

async function childOf(parent: number, script: string): Promise<number> {
  const end = performance.now() + 10_000;
  while (performance.now() < end) {
    for (const name of await readdir('/proc')) {
      if (!/^\d+$/.test(name)) continue;
      const [stat, cmdline] = await Promise.all(
        ['stat', 'cmdline'].map((file) => readFile(`/proc/${name}/${file}`, 'latin1').catch(() => '')),
      );
      // proc(5): the parent is the second field after the command's closing parenthesis.
      const ppid = Number(stat?.slice(stat.lastIndexOf(')') + 1).split(' ')[2]);
      if (ppid === parent && cmdline?.includes(script) === true) return Number(name);
    }
  }
  throw new Error(`no child runs ${script}`);
}
