/** PINs on standard input, one a line. Output: a Buffer each, which the caller wipes. */
import { AgentError } from '@keyagent/protocol';
import { wipe } from '../unlock/secret-bytes.js';
import { pinFromLine, pinLineMax } from '../unlock/sources/pin-line.js';
import type { Streams } from './streams.js';

const newline = 0x0a;

export class PinLines {
  readonly #chunks: AsyncIterator<string | Buffer, undefined>;
  /** What was read beyond the last line. */
  #rest = Buffer.alloc(0);
  #count = 0;

  constructor({ stdin }: Streams) {
    this.#chunks = stdin[Symbol.asyncIterator]();
  }

  /** @throws AgentError INVALID: nothing more, empty, or too long */
  async next(): Promise<Buffer> {
    while (!this.#rest.includes(newline) && this.#rest.length < pinLineMax && (await this.#read()));
    if (this.#rest.length === 0) {
      const missing =
        this.#count === 0 ? 'no PIN; give it one line' : 'no further PIN; give it one line for each';
      throw new AgentError('INVALID', `standard input holds ${missing}`);
    }
    this.#count++;
    const end = this.#rest.indexOf(newline);
    const line = this.#rest.subarray(0, end < 0 ? undefined : end + 1);
    this.#rest = this.#rest.subarray(line.length);
    return pinFromLine(line);
  }

  async close(): Promise<void> {
    wipe(this.#rest);
    await this.#chunks.return?.();
  }

  /** @returns false at the end of the input */
  async #read(): Promise<boolean> {
    const { done, value } = await this.#chunks.next();
    if (done === true) return false;
    const chunk = Buffer.isBuffer(value) ? value : Buffer.from(value);
    const before = this.#rest;
    this.#rest = Buffer.concat([before, chunk]);
    wipe(before);
    wipe(chunk);
    return true;
  }
}
