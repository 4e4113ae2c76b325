/** A command on a pseudo-terminal of its own (script(1)): the test types and sees what an operator would see. */
import { spawn, type ChildProcessByStdio } from 'node:child_process';
import { once } from 'node:events';
import type { Readable, Writable } from 'node:stream';

const deadlineMs = 20_000;

export class Terminal {
  /** Everything that was shown, echo included. */
  screen = '';
  readonly #child: ChildProcessByStdio<Writable, Readable, null>;
  readonly #ended: Promise<number>;

  constructor(command: string, env: NodeJS.ProcessEnv) {
    // With --echo always the terminal echoes what is typed until a program switches that off.
    this.#child = spawn(
      'script',
      ['--quiet', '--return', '--echo', 'always', '--command', command, '/dev/null'],
      {
        env: { ...process.env, TERM: 'xterm', SHELL: '/bin/sh', ...env },
        stdio: ['pipe', 'pipe', 'inherit'],
      },
    );
    this.#child.stdout.setEncoding('utf8').on('data', (text: string) => (this.screen += text));
    this.#ended = once(this.#child, 'close').then(([status]) => status as number);
  }

  type(keys: string): void {
    this.#child.stdin.write(keys);
  }

  async waitFor(shown: RegExp): Promise<void> {
    const signal = AbortSignal.timeout(deadlineMs);
    while (!shown.test(this.screen)) {
      await once(this.#child.stdout, 'data', { signal }).catch((cause: unknown) => {
        this.#child.kill('SIGKILL');
        throw new Error(`the terminal does not show ${String(shown)} but: ${JSON.stringify(this.screen)}`, {
          cause,
        });
      });
    }
  }

  /** @returns the exit status of the command */
  async end(): Promise<number> {
    const timer = setTimeout(() => this.#child.kill('SIGKILL'), deadlineMs);
    const status = await this.#ended;
    clearTimeout(timer);
    return status;
  }
}
