/** --in and --out: a file, or "-" for standard input and output. */
import { createReadStream } from 'node:fs';
import { writeFile } from 'node:fs/promises';
import type { Readable } from 'node:stream';
import { CommandError } from './exit-codes.js';
import type { Streams } from './streams.js';

/** Chunks of the input, however long it is. @throws CommandError NO_INPUT */
export async function* readInput(file: string, { stdin }: Streams): AsyncGenerator<Buffer> {
  const stream = file === '-' ? stdin : createReadStream(file);
  try {
    for await (const chunk of stream as Readable)
      yield Buffer.isBuffer(chunk) ? chunk : Buffer.from(chunk as string);
  } catch (cause) {
    const name = file === '-' ? 'standard input' : file;
    throw new CommandError(
      'NO_INPUT',
      `${name}: cannot be read (${reason(cause)}); name a readable file with --in`,
      {
        cause,
      },
    );
  }
}

/** The whole input; undefined if it is longer than `max` bytes. */
export async function readSmallInput(
  file: string,
  streams: Streams,
  max: number,
): Promise<Buffer | undefined> {
  const chunks: Buffer[] = [];
  let length = 0;
  for await (const chunk of readInput(file, streams)) {
    chunks.push(chunk);
    length += chunk.length;
    if (length > max) return undefined;
  }
  return Buffer.concat(chunks);
}

/** @param mode of a file that does not exist yet. @throws CommandError NO_OUTPUT */
export async function writeOutput(
  file: string,
  bytes: Uint8Array,
  { stdout }: Streams,
  mode = 0o666,
): Promise<void> {
  try {
    await (file === '-' ? writeTo(stdout, bytes) : writeFile(file, bytes, { mode }));
  } catch (cause) {
    const name = file === '-' ? 'standard output' : file;
    throw new CommandError(
      'NO_OUTPUT',
      `${name}: cannot be written (${reason(cause)}); name another with --out`,
      {
        cause,
      },
    );
  }
}

/** Resolves when the bytes are out of our hands: the caller may wipe them. */
function writeTo(stream: NodeJS.WritableStream, bytes: Uint8Array): Promise<void> {
  return new Promise((resolve, reject) => {
    stream.write(bytes, (error) => {
      if (error) reject(error);
      else resolve();
    });
  });
}

function reason(cause: unknown): string {
  const { code, message } = cause as NodeJS.ErrnoException;
  return code ?? message;
}
