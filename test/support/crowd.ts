/** The test's end of a crowd process. */
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import path from 'node:path';
import type { Identity } from './asker.js';
import type { Cleanup } from './cleanup.js';
import { root } from './paths.js';

export interface CrowdSpec {
  socket: string;
  identity: Identity;
  connections: number;
  /** Hex of what each sends once it is connected; nothing: not even a greeting. */
  first?: string;
  /** Goes on a byte at a time. */
  drip?: boolean;
}

const program = path.join(root, 'test/dist/support/crowd-process.js');

export class Crowd {
  private constructor(
    private readonly child: ReturnType<typeof spawn>,
    private readonly ended: Promise<unknown[]>,
  ) {}

  /** Settles when all are connected, or were refused. */
  static async gather(cleanup: Cleanup, spec: CrowdSpec): Promise<Crowd> {
    const child = spawn(process.execPath, [program, JSON.stringify(spec)], {
      stdio: ['pipe', 'pipe', 'inherit'],
    });
    const crowd = new Crowd(child, once(child, 'exit'));
    cleanup.after(() => crowd.leave());
    const [said] = await Promise.race([once(child.stdout, 'data'), crowd.ended]);
    if (typeof said === 'number') throw new Error('the crowd ended; it said why on standard error');
    return crowd;
  }

  async leave(): Promise<void> {
    this.child.stdin?.end();
    await this.ended;
  }
}
