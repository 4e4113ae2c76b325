/** A real gnome-keyring on a session bus of its own; nothing of the tester's keyring is seen. */
import { mkdirSync, openSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import type { Cleanup } from './cleanup.js';
import { SessionBus } from './session-bus.js';
import { waitFor } from './wait.js';

/** @returns the environment of that session */
export async function startSessionKeyring(cleanup: Cleanup, folder: string): Promise<Record<string, string>> {
  const home = path.join(folder, 'keyring');
  const runtime = path.join(home, 'run');
  mkdirSync(runtime, { recursive: true, mode: 0o700 });
  const bus = await SessionBus.start(cleanup, home, {
    HOME: home,
    XDG_DATA_HOME: home,
    XDG_RUNTIME_DIR: runtime,
  });
  const { env } = bus;
  const password = path.join(home, 'password');
  writeFileSync(password, 'password of the login collection');
  const log = openSync(path.join(home, 'keyring.log'), 'a');
  const daemon = spawn('gnome-keyring-daemon', ['--foreground', '--unlock', '--components=secrets'], {
    env: { ...process.env, ...env },
    stdio: [openSync(password, 'r'), log, log],
  });
  cleanup.after(async () => {
    if (daemon.exitCode !== null || daemon.signalCode !== null) return;
    daemon.kill('SIGKILL');
    await once(daemon, 'exit');
  });
  await waitFor('the keyring is on the bus', () => bus.has('org.freedesktop.secrets'));
  return env;
}
