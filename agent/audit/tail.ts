/** The end of a log as it is on disk: what the next line has to name, also after a crash in the middle of a line. */
import { fstatSync, readSync } from 'node:fs';
import { parseLine } from './parse-line.js';
import { lineHash } from './record.js';

export interface Tail {
  /** Number of the last record. */
  readonly seq: number;
  /** Of the last line, whatever it is. */
  readonly hash: string;
  /** Length in bytes of the last line if it is not a whole record. */
  readonly unfinished: number | undefined;
  readonly endsWithNewline: boolean;
}

/** A record has a few hundred bytes; a longer tail without one is not ours. */
const window = 1024 * 1024;
const newline = 0x0a;

/** @returns undefined for an empty file */
export function readTail(fd: number): Tail | undefined {
  const { size } = fstatSync(fd);
  if (size === 0) return undefined;
  const bytes = readEnd(fd, size);
  const endsWithNewline = bytes.at(-1) === newline;
  const text = endsWithNewline ? bytes.subarray(0, -1) : bytes;
  const last = text.subarray(text.lastIndexOf(newline) + 1);
  return {
    seq: lastNumber(text),
    hash: lineHash(last),
    unfinished: parseLine(last) === undefined ? last.length : undefined,
    endsWithNewline,
  };
}

function readEnd(fd: number, size: number): Buffer {
  const bytes = Buffer.alloc(Math.min(size, window));
  let length = 0;
  while (length < bytes.length) {
    const read = readSync(fd, bytes, length, bytes.length - length, size - bytes.length + length);
    if (read === 0) break;
    length += read;
  }
  return bytes.subarray(0, length);
}

function lastNumber(text: Buffer): number {
  for (let end = text.length; end >= 0;) {
    // A negative offset would count from the end.
    const start = end === 0 ? 0 : text.lastIndexOf(newline, end - 1) + 1;
    const line = parseLine(text.subarray(start, end));
    if (line !== undefined) return line.seq;
    end = start - 1;
  }
  return 0;
}
