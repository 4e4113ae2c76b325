/** The test's end of a load process. */
import { spawn, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { createInterface } from 'node:readline';
import path from 'node:path';
import type { AlgorithmName } from '@keyagent/protocol';
import type { Identity } from './asker.js';
import type { Cleanup } from './cleanup.js';
import { root } from './paths.js';

export interface LoadSpec {
  socket: string;
  /** What it becomes before it connects. */
  identity?: Identity;
  /** Folder of the cgroup that it joins first. */
  cgroup?: string;
  connections: number;
  /** On each connection. */
  inFlight: number;
  uri: string;
  alg: AlgorithmName;
  /** Hex: it decrypts this all the time, where others sign. */
  ciphertext?: string;
}

export interface Latencies {
  count: number;
  medianMs: number;
  p99Ms: number;
}

const program = path.join(root, 'test/dist/support/load-process.js');

export class Load {
  readonly #lines: AsyncIterator<string>;

  private constructor(private readonly child: ChildProcess) {
    if (child.stdout === null) throw new Error('a load process prints to a pipe');
    this.#lines = createInterface({ input: child.stdout })[Symbol.asyncIterator]();
  }

  static async start(cleanup: Cleanup, spec: LoadSpec): Promise<Load> {
    const child = spawn(process.execPath, [program, JSON.stringify(spec)], {
      stdio: ['pipe', 'pipe', 'inherit'],
    });
    const ended = once(child, 'exit');
    cleanup.after(async () => {
      child.stdin.end();
      await ended;
    });
    const load = new Load(child);
    await load.#next();
    return load;
  }

  get pid(): number {
    if (this.child.pid === undefined) throw new Error('the load process did not start');
    return this.child.pid;
  }

  /** Makes so many signatures, and tells how long each took. */
  sign(count: number): Promise<Latencies> {
    this.#say(`sign ${count}`);
    return this.#next() as Promise<Latencies>;
  }

  /** Goes on until `rest`. */
  flood(): void {
    this.#say('flood');
  }

  /** @returns how many signatures the flood got */
  async rest(): Promise<number> {
    this.#say('');
    return ((await this.#next()) as { count: number }).count;
  }

  #say(line: string): void {
    this.child.stdin?.write(`${line}\n`);
  }

  async #next(): Promise<unknown> {
    const line = await this.#lines.next();
    if (line.done === true) throw new Error('the load process ended; it said why on standard error');
    return JSON.parse(line.value);
  }
}
