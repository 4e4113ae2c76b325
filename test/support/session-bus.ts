/** A session bus of the test's own. */
import path from 'node:path';
import type { Cleanup } from './cleanup.js';
import { runCommand } from './command.js';
import { Daemon } from './daemon.js';
import { waitFor } from './wait.js';

export class SessionBus {
  private constructor(
    readonly address: string,
    readonly env: Record<string, string>,
  ) {}

  /**
   * @param folder an existing one, for its socket and its log
   * @param env    of what the bus itself may start
   */
  static async start(
    cleanup: Cleanup,
    folder: string,
    env: Record<string, string> = {},
  ): Promise<SessionBus> {
    const address = `unix:path=${folder}/bus`;
    const bus = new SessionBus(address, { ...env, DBUS_SESSION_BUS_ADDRESS: address });
    const daemon = new Daemon(cleanup, {
      command: 'dbus-daemon',
      args: ['--session', '--nofork', '--nopidfile', `--address=${address}`],
      env: bus.env,
      logFile: path.join(folder, 'bus.log'),
    });
    await waitFor('the session bus answers', async () => {
      daemon.mustRun();
      return (await bus.#names()) !== '';
    });
    return bus;
  }

  async has(name: string): Promise<boolean> {
    return (await this.#names()).includes(name);
  }

  async #names(): Promise<string> {
    const args = [
      '--session',
      '--print-reply',
      '--dest=org.freedesktop.DBus',
      '/',
      'org.freedesktop.DBus.ListNames',
    ];
    return (await runCommand('dbus-send', args, { env: this.env })).stdout;
  }
}
