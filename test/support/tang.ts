/** A real Tang server on 127.0.0.1: Debian's tangd, one process per connection, as its own socket unit runs it. */
import { mkdirSync } from 'node:fs';
import { createServer, type Socket } from 'node:net';
import { once } from 'node:events';
import path from 'node:path';
import type { Cleanup } from './cleanup.js';
import { mustRun, runCommand } from './command.js';
import { Daemon } from './daemon.js';
import { acceptsTcp, freePort } from './port.js';
import { waitFor } from './wait.js';

export class Tang {
  readonly url: string;
  readonly #cleanup: Cleanup;
  readonly #keys: string;
  readonly #port: number;
  #daemon: Daemon | undefined;

  private constructor(cleanup: Cleanup, keys: string, port: number) {
    this.#cleanup = cleanup;
    this.#keys = keys;
    this.#port = port;
    this.url = `http://127.0.0.1:${port}`;
  }

  /** @param folder an existing folder; the keys go into one inside it */
  static async start(cleanup: Cleanup, folder: string): Promise<Tang> {
    const port = await freePort();
    const keys = path.join(folder, `tang-${port}`);
    mkdirSync(keys);
    // It wants to give the keys to the user _tang, which only root can do; its exit status says so too.
    await runCommand('/usr/libexec/tangd-keygen', [keys]);
    const tang = new Tang(cleanup, keys, port);
    await tang.start();
    return tang;
  }

  async start(): Promise<void> {
    const daemon = new Daemon(this.#cleanup, {
      command: 'systemd-socket-activate',
      args: ['--accept', '--inetd', `--listen=127.0.0.1:${this.#port}`, '/usr/libexec/tangd', this.#keys],
      logFile: `${this.#keys}.log`,
    });
    this.#daemon = daemon;
    await waitFor(`Tang listens at ${this.url}`, () => {
      daemon.mustRun();
      return acceptsTcp(this.#port);
    });
  }

  async stop(): Promise<void> {
    await this.#daemon?.stop();
  }

  /** In its place, something that accepts connections and never answers. Resolves when it is there. */
  async hang(): Promise<void> {
    await this.stop();
    const open = new Set<Socket>();
    const server = createServer((socket) => {
      open.add(socket);
      socket.on('error', () => undefined);
      socket.resume();
    }).listen(this.#port, '127.0.0.1');
    await once(server, 'listening');
    this.#cleanup.after(() => {
      for (const socket of open) socket.destroy();
      server.close();
    });
  }
}

export async function startTangs(cleanup: Cleanup, folder: string, count: number): Promise<Tang[]> {
  return Promise.all(Array.from({ length: count }, () => Tang.start(cleanup, folder)));
}

/** The PIN as a JWE that opens with `threshold` of the servers, made as an operator makes it. */
export async function sealToTangs(pin: string, threshold: number, tangs: readonly Tang[]): Promise<string> {
  const policy = { t: threshold, pins: { tang: tangs.map(({ url }) => ({ url })) } };
  return (await mustRun('clevis', ['encrypt', 'sss', JSON.stringify(policy), '-y'], { input: pin })).stdout;
}
