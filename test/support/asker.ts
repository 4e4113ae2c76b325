/** The test's end of an asker process: a peer of any identity that asks what the test tells it to. */
import { spawn, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import path from 'node:path';
import { createInterface } from 'node:readline';
import type { AlgorithmName, ErrorCode } from '@keyagent/protocol';
import type { Cleanup } from './cleanup.js';
import { root } from './paths.js';

export interface Identity {
  uid: number;
  gid: number;
  groups: number[];
}

export interface AskerSpec {
  /** The agent's client socket. */
  socket: string;
  /** Connects whoever owns the socket. */
  careless?: boolean;
  /** What it becomes before it connects. */
  identity?: Identity;
  /** Folder of the cgroup that it joins first. */
  cgroup?: string;
  /** A connection that it was started with, instead of one of its own. */
  inherited?: { fd: number; greeted: boolean };
}

export interface Question {
  method: 'sign' | 'decrypt';
  uri: string;
  alg: AlgorithmName;
  /** Base64: message, digest or ciphertext. */
  bytes: string;
  digest?: boolean;
}

export interface Outcome {
  code: 'ok' | ErrorCode;
  message?: string;
  retryAfterMs?: number;
}

export const askerProgram = path.join(root, 'test/dist/support/asker-process.js');

export class Asker {
  readonly #lines: AsyncIterator<string>;
  readonly #child: ChildProcess;
  /** Pid of the process that asks, which may be a grandchild. */
  pid = 0;

  private constructor(child: ChildProcess) {
    this.#child = child;
    if (child.stdout === null) throw new Error('an asker prints to a pipe');
    this.#lines = createInterface({ input: child.stdout })[Symbol.asyncIterator]();
  }

  /** @param program  and its arguments before the asker's own; default: the node that runs the test */
  static async start(
    cleanup: Cleanup,
    spec: AskerSpec,
    program = process.execPath,
    before: readonly string[] = [],
  ): Promise<Asker> {
    const args = [...before, askerProgram, JSON.stringify(spec)];
    return Asker.from(cleanup, spawn(program, args, { stdio: ['pipe', 'pipe', 'inherit'] }));
  }

  /** Of a process that is, or leads to, an asker with the same standard input and output. */
  static async from(cleanup: Cleanup, child: ChildProcess): Promise<Asker> {
    const asker = new Asker(child);
    const ended = once(child, 'exit');
    cleanup.after(async () => {
      // The end of its input is the end of it, also where it is not a child of ours.
      child.stdin?.end();
      await ended;
    });
    asker.pid = ((await asker.#next()) as { ready: number }).ready;
    return asker;
  }

  async ask(question: Question): Promise<Outcome> {
    this.#child.stdin?.write(`${JSON.stringify(question)}\n`);
    return (await this.#next()) as Outcome;
  }

  async #next(): Promise<unknown> {
    const line = await this.#lines.next();
    if (line.done === true) throw new Error('the asker ended; it said why on standard error');
    return JSON.parse(line.value);
  }
}
