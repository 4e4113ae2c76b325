/**
 * A real server that a test starts: its processes, what it logs, how it reads its configuration again and ends. One file
 * beside this for each program.
 */
import { existsSync, readFileSync, rmSync } from 'node:fs';
import { Daemon } from '../support/daemon.js';
import { acceptsTcp } from '../support/port.js';
import { childrenOf } from '../support/proc.js';
import { waitFor } from '../support/wait.js';
import type { Site } from './site.js';

export interface ServerSpec {
  /** For messages and tables. */
  name: string;
  /** What drops root before the program starts, if it does not do so itself. */
  launcher?: readonly string[];
  command: string;
  args: readonly string[];
  env: Record<string, string>;
  /** Takes what it prints. */
  outputFile: string;
  /** Takes what it logs, if that is another file. */
  logFile?: string;
  /** By key: where it serves TLS. */
  ports: ReadonlyMap<string, number>;
  /** Where it serves plain HTTP. */
  httpPort?: number;
  /** Asks it to read its configuration again; undefined: it cannot. */
  reloadSignal?: NodeJS.Signals;
  /** What it logs once it has started; undefined: that it accepts connections is enough. */
  started?: string;
  /** What it logs once per reload; undefined: it starts new children instead. */
  reloaded?: string;
  stopSignal?: NodeJS.Signals;
  /** Exit codes and signals of an orderly end; default: 0. */
  endings?: readonly (number | NodeJS.Signals)[];
  /** What it logs of a child that a signal ended. */
  crash?: RegExp;
}

type StartSite = Pick<Site, 'cleanup' | 'wrapper'>;

/** To start, reload or end: under valgrind it takes long. */
const patienceMs = 60_000;

export class Server {
  readonly #spec: ServerSpec;
  readonly #daemon: Daemon;

  private constructor({ cleanup, wrapper }: StartSite, spec: ServerSpec) {
    this.#spec = spec;
    const { launcher = [], env, outputFile, logFile, stopSignal } = spec;
    const [command = spec.command, ...args] = [...launcher, ...wrapper, spec.command, ...spec.args];
    // What another one logged there before says nothing about this one.
    for (const file of [outputFile, logFile]) if (file !== undefined) rmSync(file, { force: true });
    const stop = stopSignal === undefined ? {} : { stopSignal };
    this.#daemon = new Daemon(cleanup, { command, args, env, logFile: outputFile, ...stop });
  }

  /** Answers once it accepts connections on every port. Rejects with what it logged if it ends. */
  static async start(site: StartSite, spec: ServerSpec): Promise<Server> {
    const server = new Server(site, spec);
    await server.#accepts();
    return server;
  }

  get name(): string {
    return this.#spec.name;
  }

  get pid(): number {
    return this.#daemon.pid;
  }

  get reloads(): boolean {
    return this.#spec.reloadSignal !== undefined;
  }

  get httpPort(): number | undefined {
    return this.#spec.httpPort;
  }

  port(key: string): number {
    const port = this.#spec.ports.get(key);
    if (port === undefined) throw new Error(`${this.name} was started without a key ${key}`);
    return port;
  }

  /** Pids of the processes that serve, where there are several. */
  children(): number[] {
    return childrenOf(this.pid);
  }

  /** Everything that it printed and logged. */
  log(): string {
    const { logFile } = this.#spec;
    const logged = logFile !== undefined && existsSync(logFile) ? readFileSync(logFile, 'utf8') : '';
    return `${this.#daemon.log}${logged}`;
  }

  /** Lines about children that a signal ended. */
  crashes(): string[] {
    const { crash } = this.#spec;
    if (crash === undefined) return [];
    return this.log()
      .split('\n')
      .filter((line) => crash.test(line));
  }

  /** Throws when it ended, with the logs. */
  mustRun(): void {
    this.#daemon.mustRun(this.name, () => this.log());
  }

  signal(name: NodeJS.Signals): void {
    this.#daemon.signal(name);
  }

  /** Reads everything again. Answers once it is through, and its new children serve. */
  async reload(): Promise<void> {
    const { reloadSignal, reloaded } = this.#spec;
    if (reloadSignal === undefined) throw new Error(`${this.name} cannot reload`);
    const [before, old] = [this.#occurrences(reloaded), this.children()];
    this.signal(reloadSignal);
    const isThrough = () => {
      this.mustRun();
      if (reloaded !== undefined) return this.#occurrences(reloaded) > before;
      return this.children().some((child) => !old.includes(child));
    };
    await waitFor(`${this.name} is through its reload`, isThrough, patienceMs);
    await this.#accepts();
  }

  /** Waits for its end; answers the exit code, or the signal that ended it. */
  ended(): Promise<number | NodeJS.Signals> {
    return this.#daemon.ended(patienceMs);
  }

  /** Ends it as its unit does. Rejects unless the end is orderly. */
  async stop(): Promise<void> {
    const { stopSignal = 'SIGTERM', endings = [0] } = this.#spec;
    this.signal(stopSignal);
    const ending = await this.ended();
    if (!endings.includes(ending)) throw new Error(`${this.name} ended with ${ending}:\n${this.log()}`);
  }

  async #accepts(): Promise<void> {
    const { ports, httpPort, started } = this.#spec;
    const all = [...ports.values(), ...(httpPort === undefined ? [] : [httpPort])];
    const accepts = async () => {
      this.mustRun();
      if (started !== undefined && this.#occurrences(started) === 0) return false;
      const open = await Promise.all(all.map(acceptsTcp));
      return open.every(Boolean);
    };
    await waitFor(`${this.name} accepts connections`, accepts, patienceMs);
  }

  #occurrences(text: string | undefined): number {
    return text === undefined ? 0 : this.log().split(text).length - 1;
  }
}
