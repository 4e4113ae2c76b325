/**
 * The head: which line of the log is the last, in a file of its own under a key of its own (HMAC-SHA-256), so that
 * whoever can write to the log but not to the state directory can neither cut nor recompute its end unseen.
 */
import { createHmac, createSecretKey, randomBytes, type KeyObject } from 'node:crypto';
import { closeSync, fsyncSync, openSync, readFileSync, renameSync, writeSync } from 'node:fs';
import { dirname, join } from 'node:path';
import type { Position } from './record.js';
import type { Writer } from './writer.js';

export interface Head extends Position {
  /** Lines up to this number were on disk before this head was written. */
  readonly synced: number;
  /** The agent ended in order. */
  readonly closed: boolean;
  readonly writer: Writer;
}

/** One sector: written as a whole or not at all, even when the power fails. */
const headLength = 512;
const keyLength = 32;
const purpose = 'keyagent audit head 1\n';

export function headPaths(stateDir: string): { head: string; key: string } {
  return { head: join(stateDir, 'audit.head'), key: join(stateDir, 'audit.key') };
}

/** The key of the heads; made at first use. */
export function openHeadKey(file: string): KeyObject {
  try {
    return readHeadKey(file);
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'ENOENT') throw error;
  }
  const bytes = randomBytes(keyLength);
  // Under another name first: a full disk must not leave half a key behind.
  const fd = openSync(`${file}.new`, 'w', 0o600);
  try {
    writeSync(fd, bytes);
    fsyncSync(fd);
    renameSync(`${file}.new`, file);
    syncDirectory(dirname(file));
  } finally {
    bytes.fill(0);
    closeSync(fd);
  }
  return readHeadKey(file);
}

export function readHeadKey(file: string): KeyObject {
  const bytes = readFileSync(file);
  try {
    if (bytes.length !== keyLength) throw new Error(`${file} is not a key: it has ${bytes.length} bytes`);
    return createSecretKey(bytes);
  } finally {
    bytes.fill(0);
  }
}

/** @returns undefined if there is no file; 'forged' if it was not made with the key */
export function readHead(file: string, key: KeyObject): Head | 'forged' | undefined {
  let text: string;
  try {
    text = readFileSync(file, 'utf8').trimEnd();
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return undefined;
    throw error;
  }
  const [seq = '', hash = '', synced = '', state = '', boot = '', pid = '', startTicks = ''] =
    text.split(' ');
  const head = {
    seq: Number(seq),
    hash,
    synced: Number(synced),
    closed: state === 'closed',
    writer: { boot, pid: Number(pid), startTicks: Number(startTicks) },
  };
  return text === headText(head, key) ? head : 'forged';
}

/** @param fd of the head's file, open for writing */
export function writeHead(fd: number, key: KeyObject, head: Head): void {
  const written = writeSync(fd, `${headText(head, key).padEnd(headLength - 1)}\n`, 0);
  if (written !== headLength) throw new Error(`the head was written in part: ${written} bytes`);
}

/** One line of words, the last of them the MAC of the others. */
function headText({ seq, hash, synced, closed, writer }: Head, key: KeyObject): string {
  const { boot, pid, startTicks } = writer;
  const text = `${seq} ${hash} ${synced} ${closed ? 'closed' : 'open'} ${boot} ${pid} ${startTicks}`;
  return `${text} ${createHmac('sha256', key)
    .update(purpose + text)
    .digest('hex')}`;
}

export function syncDirectory(path: string): void {
  const fd = openSync(path, 'r');
  try {
    fsyncSync(fd);
  } finally {
    closeSync(fd);
  }
}
