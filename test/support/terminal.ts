/** A command on a pseudo-terminal of its own (script(1)): the test types, and sees what an operator sees. */
import { spawn, type ChildProcessByStdio } from 'node:child_process';
import { once } from 'node:events';
import type { Readable, Writable } from 'node:stream';
import type { Cleanup } from './cleanup.js';
import { waitFor } from './wait.js';

export class Terminal {
  /** Everything that was shown so far. */
  screen = '';
  readonly #child: ChildProcessByStdio<Writable, Readable, null>;
  readonly #ended: Promise<unknown>;

  constructor(cleanup: Cleanup, command: string, env: Record<string, string> = {}) {
    this.#child = spawn('script', ['--quiet', '--return', '--command', command, '/dev/null'], {
      env: { ...process.env, TERM: 'xterm', SHELL: '/bin/sh', ...env },
      stdio: ['pipe', 'pipe', 'inherit'],
    });
    this.#child.stdout.setEncoding('utf8').on('data', (text: string) => (this.screen += text));
    this.#ended = once(this.#child, 'close');
    cleanup.after(async () => {
      if (this.#child.exitCode !== null || this.#child.signalCode !== null) return;
      this.#child.kill('SIGTERM');
      await this.#ended;
    });
  }

  type(keys: string): void {
    this.#child.stdin.write(keys);
  }

  async shows(text: RegExp): Promise<void> {
    await waitFor(`the terminal shows ${String(text)}`, () => text.test(this.screen));
  }

  /** @returns the exit status of the command */
  async end(): Promise<number | null> {
    await waitFor('the command on the terminal ends', () => this.#child.exitCode !== null);
    await this.#ended;
    return this.#child.exitCode;
  }
}
