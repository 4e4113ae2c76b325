/** A real gnome-keyring-daemon on a D-Bus session bus of its own, with its own home: nothing of the tester's is seen. */
import { execFile, spawn, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { mkdtemp, mkdir, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { promisify } from 'node:util';

const run = promisify(execFile);
const deadlineMs = 20_000;

export class PrivateKeyring {
  private constructor(
    readonly home: string,
    /** For process.env of whoever uses the keyring. */
    readonly env: NodeJS.ProcessEnv,
    private readonly bus: ChildProcess,
    readonly daemon: ChildProcess,
  ) {}

  static async start(): Promise<PrivateKeyring> {
    const home = await mkdtemp(path.join(tmpdir(), 'keyagent-keyring-'));
    const runtimeDir = path.join(home, 'run');
    await mkdir(runtimeDir, { mode: 0o700 });
    const env: NodeJS.ProcessEnv = {
      PATH: process.env.PATH,
      HOME: home,
      XDG_DATA_HOME: path.join(home, 'data'),
      XDG_RUNTIME_DIR: runtimeDir,
      DBUS_SESSION_BUS_ADDRESS: `unix:path=${path.join(home, 'bus')}`,
    };
    const bus = spawn(
      'dbus-daemon',
      [
        '--session',
        '--nofork',
        '--nopidfile',
        '--print-address',
        `--address=${String(env.DBUS_SESSION_BUS_ADDRESS)}`,
      ],
      { env, stdio: ['ignore', 'pipe', 'ignore'] },
    );
    await once(bus.stdout, 'data');
    const daemon = spawn('gnome-keyring-daemon', ['--foreground', '--unlock', '--components=secrets'], {
      env,
      stdio: ['pipe', 'ignore', 'ignore'],
    });
    daemon.stdin.end('password of the login collection');
    const keyring = new PrivateKeyring(home, env, bus, daemon);
    await keyring.waitFor(
      'org.freedesktop.DBus.NameHasOwner',
      'string:org.freedesktop.secrets',
      'boolean true',
    );
    return keyring;
  }

  /** Makes it the keyring of this process. @returns what undoes that */
  enter(): () => void {
    const names = ['DBUS_SESSION_BUS_ADDRESS', 'XDG_RUNTIME_DIR', 'HOME', 'XDG_DATA_HOME', 'DISPLAY'];
    const outside = { ...process.env };
    for (const name of names) setEnv(name, this.env[name]);
    return () => names.forEach((name) => setEnv(name, outside[name]));
  }

  /** Locks the collection that items are stored in. */
  async lock(): Promise<void> {
    await this.call('org.freedesktop.secrets', '/org/freedesktop/secrets', [
      'org.freedesktop.Secret.Service.Lock',
      'array:objpath:/org/freedesktop/secrets/collection/login',
    ]);
  }

  async stop(): Promise<void> {
    for (const child of [this.daemon, this.bus]) {
      if (child.exitCode !== null || child.signalCode !== null) continue;
      child.kill('SIGKILL');
      await once(child, 'exit');
    }
    await rm(this.home, { recursive: true });
  }

  private async waitFor(method: string, argument: string, answer: string): Promise<void> {
    const end = performance.now() + deadlineMs;
    while (!(await this.call('org.freedesktop.DBus', '/', [method, argument])).includes(answer)) {
      if (performance.now() > end)
        throw new Error(`${method} ${argument}: not "${answer}" in ${deadlineMs} ms`);
    }
  }

  private async call(destination: string, object: string, rest: string[]): Promise<string> {
    const { stdout } = await run(
      'dbus-send',
      ['--session', '--print-reply', `--dest=${destination}`, object, ...rest],
      {
        env: this.env,
        timeout: deadlineMs,
      },
    );
    return stdout;
  }
}

export function setEnv(name: string, value: string | undefined): void {
  if (value === undefined) Reflect.deleteProperty(process.env, name);
  else process.env[name] = value;
}
