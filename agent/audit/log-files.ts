/** The files of one log, as logrotate leaves them (.1, .2.gz, -20260131), from the oldest record on, and their lines. */
import { createReadStream, readdirSync } from 'node:fs';
import { basename, dirname, join } from 'node:path';
import { pipeline, type Readable } from 'node:stream';
import { createGunzip } from 'node:zlib';
import { parseLine } from './parse-line.js';

const newline = 0x0a;
const rotated = /[.-]\d[\d-]*(\.gz)?$/;

/** @param file the log, or any of its rotated parts */
export async function logFiles(file: string): Promise<string[]> {
  const directory = dirname(file);
  const base = basename(file).replace(rotated, '');
  const names = readdirSync(directory).filter(
    (name) => name === base || (name.startsWith(base) && name.replace(rotated, '') === base),
  );
  const numbered: { path: string; seq: number }[] = [];
  for (const path of names.map((name) => join(directory, name))) {
    const seq = await firstNumber(path);
    if (seq !== undefined) numbered.push({ path, seq });
  }
  return numbered.sort((a, b) => a.seq - b.seq).map(({ path }) => path);
}

/** Lines without their newline; the last one also when it has none. */
export async function* linesOf(file: string): AsyncGenerator<Buffer> {
  let rest: Buffer = Buffer.alloc(0);
  for await (const chunk of contentOf(file) as AsyncIterable<Buffer>) {
    let from = 0;
    const bytes = rest.length === 0 ? chunk : Buffer.concat([rest, chunk]);
    for (let end = bytes.indexOf(newline); end >= 0; end = bytes.indexOf(newline, from)) {
      yield bytes.subarray(from, end);
      from = end + 1;
    }
    rest = bytes.subarray(from);
  }
  if (rest.length > 0) yield rest;
}

function contentOf(file: string): Readable {
  const stream = createReadStream(file);
  if (!file.endsWith('.gz')) return stream;
  // An error of either comes out of the second.
  return pipeline(stream, createGunzip(), () => undefined);
}

/** Number of the first record; Infinity where no line is one, as a first line that was cut; undefined for an empty file. */
async function firstNumber(file: string): Promise<number | undefined> {
  let seq: number | undefined;
  for await (const line of linesOf(file)) {
    seq = parseLine(line)?.seq ?? Infinity;
    if (seq < Infinity) break;
  }
  return seq;
}
