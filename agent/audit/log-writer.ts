/**
 * The log and its head, open for writing: joins the chain where it ends, appends, syncs. Every method throws what the
 * file system says; the writer is of no more use then, and another one joins where this one got to.
 */
import type { KeyObject } from 'node:crypto';
import {
  closeSync,
  constants,
  fdatasync,
  fdatasyncSync,
  fstatSync,
  ftruncateSync,
  openSync,
  statSync,
  writeSync,
} from 'node:fs';
import { dirname } from 'node:path';
import { promisify } from 'node:util';
import { headPaths, openHeadKey, readHead, syncDirectory, writeHead, type Head } from './head.js';
import {
  beginning,
  lineHash,
  openingLine,
  recordLine,
  type Anchor,
  type AuditRecord,
  type Opening,
  type Position,
} from './record.js';
import { readTail, type Tail } from './tail.js';
import { isRunning, isThisBoot, thisWriter } from './writer.js';

export interface Joining {
  readonly reason: Opening['reason'];
  /** Where this process got to; undefined: the head's file says where the last one did. */
  readonly from: Anchor | undefined;
  readonly unrecorded: number;
}

const datasync = promisify(fdatasync);
/** Under load the head follows the lines within this many milliseconds: to write both each time costs throughput. */
const headEveryMs = 20;

export class LogWriter {
  private readonly fd: number;
  private readonly headFd: number;
  private readonly key: KeyObject;
  private readonly writer = thisWriter();
  private position: Position = beginning;
  private synced = 0;
  private syncing: Promise<void> = Promise.resolve();
  private released = false;
  private headTimer: NodeJS.Timeout | undefined;
  private headSeq = 0;
  private headError: Error | undefined;

  constructor(
    private readonly file: string,
    stateDir: string,
    joining: Joining,
  ) {
    const paths = headPaths(stateDir);
    this.key = openHeadKey(paths.key);
    const head = readHead(paths.head, this.key);
    if (typeof head === 'object' && head.writer.pid !== process.pid && isRunning(head.writer)) {
      throw new Error(`process ${head.writer.pid} still writes ${file}`);
    }
    this.headFd = openSync(paths.head, constants.O_RDWR | constants.O_CREAT, 0o600);
    try {
      this.fd = openSync(file, 'a+', 0o600);
    } catch (error) {
      closeSync(this.headFd);
      throw error;
    }
    try {
      this.join(joining, head);
    } catch (error) {
      this.release();
      throw error;
    }
  }

  /** For whoever joins next in this process. */
  get anchor(): Anchor {
    return { ...this.position, synced: this.synced, state: 'open' };
  }

  get isSynced(): boolean {
    return this.synced === this.position.seq;
  }

  /** True unless the file was renamed or removed. */
  get hasItsName(): boolean {
    const named = statSync(this.file, { throwIfNoEntry: false });
    const own = fstatSync(this.fd);
    return named?.ino === own.ino && named.dev === own.dev;
  }

  append(records: readonly AuditRecord[]): void {
    if (records.length === 0) return;
    const time = new Date().toISOString();
    let { position } = this;
    let text = '';
    for (const record of records) {
      const line = recordLine(position, time, record);
      position = { seq: position.seq + 1, hash: lineHash(line) };
      text += `${line}\n`;
    }
    if (this.headError !== undefined) throw this.headError;
    this.write(text);
    this.position = position;
    if (this.headTimer === undefined) this.putHeadOften();
  }

  /** To disk, off the event loop: first the lines, then the head that may say so. */
  sync(): Promise<void> {
    this.syncing = this.syncOnce();
    return this.syncing;
  }

  /** To disk, before the next line of this process. */
  syncNow(): void {
    fdatasyncSync(this.fd);
    this.synced = this.position.seq;
  }

  /** The orderly end. */
  close(): void {
    this.syncNow();
    this.putHead(true);
    fdatasyncSync(this.headFd);
    this.release();
  }

  /** Gives the descriptors back, once no sync uses them. */
  release(): void {
    this.released = true;
    clearTimeout(this.headTimer);
    const close = (): void => {
      closeSync(this.fd);
      closeSync(this.headFd);
    };
    this.syncing.then(close, close);
  }

  private join({ reason, from, unrecorded }: Joining, head: Head | 'forged' | undefined): void {
    const tail = readTail(this.fd);
    const anchor = from ?? anchorOf(head);
    this.putAnchor(anchor, tail);
    const before = { seq: Math.max(tail?.seq ?? 0, anchor.seq), hash: tail?.hash ?? anchor.hash };
    const line = openingLine(before, new Date().toISOString(), {
      event: 'log',
      reason,
      anchor,
      rebooted: typeof head === 'object' && !isThisBoot(head.writer),
      unfinished: tail?.unfinished,
      unrecorded: unrecorded === 0 ? undefined : unrecorded,
    });
    this.write(`${tail?.endsWithNewline === false ? '\n' : ''}${line}\n`);
    this.position = { seq: before.seq + 1, hash: lineHash(line) };
    this.syncNow();
    this.putHead(false);
    fdatasyncSync(this.headFd);
    if (tail === undefined) syncDirectory(dirname(this.file));
  }

  /**
   * Proves that the head can be written before the log gets a line that it will not name. One that was missing or forged
   * stays so until a line in the log says it.
   */
  private putAnchor(anchor: Anchor, tail: Tail | undefined): void {
    const isFirst = anchor.state === 'missing' && tail === undefined;
    if (!isFirst && anchor.state !== 'open' && anchor.state !== 'closed') return;
    this.position = anchor;
    this.synced = anchor.synced;
    this.putHead(anchor.state === 'closed');
  }

  /** At once, and again as long as there are new lines; a failure is told to whoever appends next. */
  private putHeadOften(): void {
    this.headTimer = undefined;
    if (this.headSeq === this.position.seq) return;
    try {
      this.putHead(false);
    } catch (error) {
      this.headError = error as Error;
    }
    this.headTimer = setTimeout(() => {
      this.putHeadOften();
    }, headEveryMs).unref();
  }

  private putHead(closed: boolean): void {
    const { seq, hash } = this.position;
    this.headSeq = seq;
    writeHead(this.headFd, this.key, { seq, hash, synced: this.synced, closed, writer: this.writer });
  }

  /** All or nothing: lines of which only a part fits are taken back. */
  private write(text: string): void {
    const length = Buffer.byteLength(text);
    let written = writeSync(this.fd, text);
    if (written === length) return;
    try {
      // Says why: a disk that is full takes what it can, and the next time nothing.
      while (written < length) written += writeSync(this.fd, Buffer.from(text), written);
    } catch (error) {
      ftruncateSync(this.fd, fstatSync(this.fd).size - written);
      throw error;
    }
  }

  private async syncOnce(): Promise<void> {
    const { seq } = this.position;
    await datasync(this.fd);
    if (this.released) return;
    this.synced = seq;
    this.putHead(false);
    await datasync(this.headFd);
  }
}

function anchorOf(head: Head | 'forged' | undefined): Anchor {
  if (head === undefined) return { ...beginning, synced: 0, state: 'missing' };
  if (head === 'forged') return { ...beginning, synced: 0, state: 'forged' };
  const { seq, hash, synced, closed } = head;
  return { seq, hash, synced, state: closed ? 'closed' : 'open' };
}
