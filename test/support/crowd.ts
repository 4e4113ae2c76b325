/** The test's end of a crowd process. */
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import path from 'node:path';
import { encodeRequest, protocolVersion } from '@keyagent/protocol';
import type { Identity } from './asker.js';
import type { Cleanup } from './cleanup.js';
import { root } from './paths.js';

export interface CrowdSpec {
  socket: string;
  identity: Identity;
  connections: number;
  /** Hex of what each sends once it is connected; nothing: not even a greeting. */
  first?: string;
}

export const hello = encodeRequest({ id: 1, method: 'hello', params: protocolVersion });
/** A frame of 16 KiB that has begun, after a greeting. */
export const begunFrame = Buffer.concat([hello, Buffer.from('00004000', 'hex')]);

const program = path.join(root, 'test/dist/support/crowd-process.js');

export class Crowd {
  private constructor(
    private readonly child: ReturnType<typeof spawn>,
    private readonly ended: Promise<unknown[]>,
    private readonly connections: number,
  ) {}

  /** Settles when all are connected, or were refused. */
  static async gather(cleanup: Cleanup, spec: CrowdSpec): Promise<Crowd> {
    const child = spawn(process.execPath, [program, JSON.stringify(spec)], {
      stdio: ['pipe', 'pipe', 'inherit'],
    });
    const crowd = new Crowd(child, once(child, 'exit'), spec.connections);
    cleanup.after(() => crowd.leave());
    await crowd.#said();
    return crowd;
  }

  /** Each sends a byte twice a second, until the next call. */
  dripSlowly(): Promise<void> {
    return this.#tell('slowly');
  }

  /** Each sends a byte at once. @returns how many that are */
  async drip(): Promise<number> {
    await this.#tell('byte');
    return this.connections;
  }

  rest(): Promise<void> {
    return this.#tell('rest');
  }

  async leave(): Promise<void> {
    this.child.stdin?.end();
    await this.ended;
  }

  async #tell(line: string): Promise<void> {
    this.child.stdin?.write(`${line}\n`);
    await this.#said();
  }

  async #said(): Promise<void> {
    const output = this.child.stdout;
    if (output === null) throw new Error('a crowd prints to a pipe');
    const [said] = await Promise.race([once(output, 'data'), this.ended]);
    if (typeof said === 'number') throw new Error('the crowd ended; it said why on standard error');
  }
}
