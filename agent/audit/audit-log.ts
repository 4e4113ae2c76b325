/**
 * The audit log: a line for every decision and for every deed of an operator, written before the reply leaves. The
 * records of one turn of the event loop leave in one write; the disk has them within a second. What a disk that is
 * full means for the operations is the configuration's choice.
 */
import { closeSync, mkdirSync, openSync } from 'node:fs';
import { dirname } from 'node:path';
import { AgentError } from '@keyagent/protocol';
import { LogWriter } from './log-writer.js';
import type { Anchor, AuditRecord, Opening, Position } from './record.js';

export interface AuditSettings {
  readonly file: string;
  /** Holds the head and its key. */
  readonly stateDir: string;
  /** deny: an operation that cannot be recorded is refused. count: it goes on, and the loss is counted. */
  readonly onError: 'deny' | 'count';
  /** Told when the log fails and when it is written again. */
  readonly tell: (message: string, error?: unknown) => void;
  /** Gets the head from time to time, to keep it out of reach of who can write to this machine's files. */
  readonly publish?: ((head: Position) => void) | undefined;
}

/** Milliseconds. A sync itself may take some time, and all is to be on disk within a second. */
const syncAfterMs = 500;
const publishEveryMs = 60_000;
/** Will pass: the agent starts and waits for it. */
const passing: readonly unknown[] = ['ENOSPC', 'EDQUOT', 'EIO'];

export class AuditLog {
  private waiting: AuditRecord[] = [];
  private turn: Promise<void> | undefined;
  private writer: LogWriter | undefined;
  /** Where the last writer of this process got to. */
  private from: Anchor | undefined;
  private reason: Opening['reason'] = 'start';
  private failing = false;
  private unrecorded = 0;
  private syncTimer: NodeJS.Timeout | undefined;
  private publishedAt = -Infinity;

  /** Writes nothing yet: another agent may still be at it. Throws CONFIGURATION where there can be no log. */
  constructor(private readonly settings: AuditSettings) {
    const { file } = settings;
    try {
      mkdirSync(dirname(file), { recursive: true, mode: 0o750 });
      closeSync(openSync(file, 'a', 0o600));
    } catch (error) {
      const { code } = error as NodeJS.ErrnoException;
      if (passing.includes(code)) return;
      const message = `${file}: cannot be written (${code ?? String(error)}); correct it, or name another [audit] file`;
      throw new AgentError('CONFIGURATION', message, { cause: error });
    }
  }

  /** Resolves when the line is written; rejects when it cannot be and `on_error` is deny. */
  record(record: AuditRecord): Promise<void> {
    this.waiting.push(record);
    this.turn ??= new Promise((resolve, reject) => {
      // After every reply of this turn has been made into a record.
      process.nextTick(() => {
        const failure = this.flush();
        if (failure !== undefined && this.settings.onError === 'deny') reject(failure);
        else resolve();
      });
    });
    return this.turn;
  }

  /** The same for what is not undone for want of a record; the loss is told and counted. */
  async note(record: AuditRecord): Promise<void> {
    await this.record(record).catch(() => undefined);
  }

  /** Throws while operations are refused because they could not be recorded. Tries again first. */
  requireWritable(): void {
    if (this.writer !== undefined || this.settings.onError === 'count') return;
    const failure = this.write([]);
    if (failure !== undefined) throw failure;
  }

  /** After a rotation: goes on in a new file of the same name. */
  reopen(): void {
    const { writer } = this;
    try {
      if (writer === undefined || writer.hasItsName) return;
      writer.syncNow();
    } catch (error) {
      this.fail(error, 0);
      return;
    }
    this.leave('rotation');
    this.write([]);
  }

  close(): void {
    this.flush();
    clearTimeout(this.syncTimer);
    const { writer } = this;
    if (writer === undefined) return;
    try {
      this.publish(writer);
      writer.close();
    } catch (error) {
      this.fail(error, 0);
    }
    this.writer = undefined;
    this.from = undefined;
    this.reason = 'start';
  }

  private flush(): AgentError | undefined {
    const records = this.waiting;
    this.waiting = [];
    this.turn = undefined;
    return records.length === 0 ? undefined : this.write(records);
  }

  /** @returns why nothing was written */
  private write(records: readonly AuditRecord[]): AgentError | undefined {
    try {
      (this.writer ??= this.open()).append(records);
    } catch (error) {
      return this.fail(error, records.length);
    }
    if (this.syncTimer === undefined) this.syncLater(this.writer);
    return undefined;
  }

  private open(): LogWriter {
    const { reason, from, unrecorded } = this;
    const writer = new LogWriter(this.settings.file, this.settings.stateDir, { reason, from, unrecorded });
    if (this.failing)
      this.settings.tell(`the audit log is written again; ${unrecorded} records are not in it`);
    this.failing = false;
    this.unrecorded = 0;
    this.publish(writer);
    return writer;
  }

  private fail(error: unknown, records: number): AgentError {
    this.unrecorded += records;
    this.leave('failure');
    if (!this.failing) {
      const so = this.settings.onError === 'deny' ? 'operations are refused' : 'operations go on unrecorded';
      this.settings.tell(`the audit log cannot be written, and ${so}`, error);
    }
    this.failing = true;
    const message = 'the audit log cannot be written, so nothing is done; see the log of the agent';
    return new AgentError('INTERNAL', message, { cause: error });
  }

  /** The next write opens the file by its name. */
  private leave(reason: Opening['reason']): void {
    clearTimeout(this.syncTimer);
    this.syncTimer = undefined;
    if (this.writer === undefined) return;
    this.reason = reason;
    this.from = this.writer.anchor;
    this.writer.release();
    this.writer = undefined;
  }

  private syncLater(writer: LogWriter): void {
    this.syncTimer = setTimeout(() => {
      writer.sync().then(
        () => {
          if (writer !== this.writer) return;
          this.syncTimer = undefined;
          if (!writer.isSynced) this.syncLater(writer);
          if (performance.now() - this.publishedAt >= publishEveryMs) this.publish(writer);
        },
        (error: unknown) => {
          if (writer === this.writer) this.fail(error, 0);
        },
      );
    }, syncAfterMs).unref();
  }

  private publish({ anchor: { seq, hash } }: LogWriter): void {
    this.publishedAt = performance.now();
    try {
      this.settings.publish?.({ seq, hash });
    } catch (error) {
      this.settings.tell('the head of the audit log cannot be published', error);
    }
  }
}
