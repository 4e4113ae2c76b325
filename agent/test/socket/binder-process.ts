/** The test's end of a binder. */
import { spawn, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { createInterface } from 'node:readline';
import type { TestContext } from 'node:test';
import { fileURLToPath } from 'node:url';

const program = fileURLToPath(new URL('binder.js', import.meta.url));

export class BinderProcess {
  readonly #lines: AsyncIterator<string>;

  private constructor(private readonly child: ChildProcess) {
    if (child.stdout === null) throw new Error('a binder prints to a pipe');
    this.#lines = createInterface({ input: child.stdout })[Symbol.asyncIterator]();
  }

  static async start(t: TestContext, socketPath: string): Promise<BinderProcess> {
    const child = spawn(process.execPath, [program, socketPath], { stdio: ['pipe', 'pipe', 'inherit'] });
    const binder = new BinderProcess(child);
    t.after(() => binder.kill());
    await binder.#next();
    return binder;
  }

  /** @returns "bound", or why not */
  bind(): Promise<string> {
    return this.#tell('bind');
  }

  close(): Promise<string> {
    return this.#tell('close');
  }

  async kill(): Promise<void> {
    if (this.child.exitCode !== null || this.child.signalCode !== null) return;
    this.child.kill('SIGKILL');
    await once(this.child, 'exit');
  }

  #tell(line: string): Promise<string> {
    this.child.stdin?.write(`${line}\n`);
    return this.#next();
  }

  async #next(): Promise<string> {
    const line = await this.#lines.next();
    if (line.done === true) throw new Error('the binder ended');
    return line.value;
  }
}
