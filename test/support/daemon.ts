/** A server process that a test starts: its output is kept, it ends by its own pid, and its early end is an error. */
import { spawn, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { closeSync, openSync, readFileSync } from 'node:fs';
import type { Cleanup } from './cleanup.js';

export interface DaemonSpec {
  command: string;
  args: readonly string[];
  /** Added to the environment of the test. */
  env?: Record<string, string>;
  /** Takes what it prints. */
  logFile: string;
  /** Ends it in order; default: SIGTERM. */
  stopSignal?: NodeJS.Signals;
}

export class Daemon {
  readonly #child: ChildProcess;
  readonly #spec: DaemonSpec;
  #failure: Error | undefined;

  constructor(cleanup: Cleanup, spec: DaemonSpec) {
    this.#spec = spec;
    const log = openSync(spec.logFile, 'a');
    this.#child = spawn(spec.command, spec.args, {
      env: { ...process.env, ...spec.env },
      stdio: ['ignore', log, log],
      // In a process group of its own: Apache's prefork ends by a signal to its whole group.
      detached: true,
    });
    closeSync(log);
    this.#child.on('error', (error) => (this.#failure = error));
    cleanup.after(() => this.stop());
  }

  get pid(): number {
    if (this.#child.pid === undefined) throw this.#startFailure();
    return this.#child.pid;
  }

  /** Everything that it printed, in all its lives. */
  get log(): string {
    return readFileSync(this.#spec.logFile, 'utf8');
  }

  get running(): boolean {
    return this.#child.pid !== undefined && this.#child.exitCode === null && this.#child.signalCode === null;
  }

  /** Throws when it ended, with how and what it printed or logged. For probes that wait for it. */
  mustRun(name = this.#spec.command, log = () => this.log): void {
    if (this.#child.pid === undefined) throw this.#startFailure();
    const ending = this.#child.signalCode ?? `exit ${String(this.#child.exitCode)}`;
    if (!this.running) throw new Error(`${name} ended (${ending}):\n${log()}`);
  }

  signal(name: NodeJS.Signals): void {
    this.mustRun();
    this.#child.kill(name);
  }

  /** Waits for its end; answers the exit code, or the signal that ended it. */
  async ended(timeoutMs = 60_000): Promise<number | NodeJS.Signals> {
    if (this.running) await once(this.#child, 'exit', { signal: AbortSignal.timeout(timeoutMs) });
    return this.#child.signalCode ?? this.#child.exitCode ?? 0;
  }

  /** Its own signal, and SIGKILL for one that ignores that; then it is an error. */
  async stop(): Promise<void> {
    if (!this.running) return;
    const { command, stopSignal = 'SIGTERM' } = this.#spec;
    this.#child.kill(stopSignal);
    try {
      await this.ended();
    } catch (cause) {
      this.#child.kill('SIGKILL');
      throw new Error(`${command} ignored ${stopSignal}:\n${this.log}`, { cause });
    }
  }

  #startFailure(): Error {
    return new Error(`${this.#spec.command} did not start`, { cause: this.#failure });
  }
}
