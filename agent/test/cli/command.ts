/** Runs one command line of keyagent in this process, with streams of the test's own. */
import { Readable, Writable } from 'node:stream';
import { run } from '@keyagent/agent/cli/program.js';
import type { FakeAgent } from './fake-agent.js';

export interface Outcome {
  status: number;
  stdout: Buffer;
  stderr: string;
}

export interface Given {
  stdin?: string | Buffer | Readable;
  env?: NodeJS.ProcessEnv;
  euid?: number;
}

/** Talks to the given agent, unless `env` says otherwise. */
export async function keyagent(
  agent: FakeAgent,
  argv: readonly string[],
  given: Given = {},
): Promise<Outcome> {
  const { stdin = '', env = { KEYAGENT_SOCK: agent.client }, euid = process.geteuid?.() ?? 0 } = given;
  const stdout = new Collector();
  const stderr = new Collector();
  const input = stdin instanceof Readable ? stdin : Readable.from([Buffer.from(stdin as string)]);
  const status = await run(argv, { stdin: input, stdout, stderr }, { env, euid });
  return { status, stdout: stdout.content, stderr: stderr.content.toString() };
}

/** Copies, as a descriptor does: a command wipes what it has written. */
class Collector extends Writable {
  readonly #chunks: Buffer[] = [];

  get content(): Buffer {
    return Buffer.concat(this.#chunks);
  }

  override _write(chunk: Buffer, _encoding: BufferEncoding, done: () => void): void {
    this.#chunks.push(Buffer.from(chunk));
    done();
  }
}
