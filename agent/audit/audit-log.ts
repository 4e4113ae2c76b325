/**
 * The audit log: one JSON line per decision and per deed of an operator, appended before the reply leaves.
 * The record type has no field that could hold a PIN, a message, a digest or a plaintext.
 */
import { closeSync, mkdirSync, openSync, writeSync } from 'node:fs';
import { dirname } from 'node:path';
import { AgentError, type ErrorCode } from '@keyagent/protocol';
import type { Peer } from '../policy/peer.js';

export interface AuditRecord {
  readonly event: 'sign' | 'decrypt' | 'unlock' | 'lock' | 'stop' | 'start' | 'reload' | 'host';
  readonly peer?: Peer;
  readonly token?: string;
  readonly key?: string;
  readonly alg?: string;
  readonly rule?: string;
  readonly source?: string;
  readonly outcome: 'ok' | ErrorCode;
  /** CKR_ name or other cause. */
  readonly cause?: string;
}

export interface AuditSettings {
  readonly file: string;
  /** deny: an operation that cannot be recorded is refused. count: it goes on, and the loss is counted. */
  readonly onError: 'deny' | 'count';
}

export class AuditLog {
  /** Records that could not be written, with on_error = "count". */
  lost = 0;
  private fd: number;

  constructor(private readonly settings: AuditSettings) {
    mkdirSync(dirname(settings.file), { recursive: true, mode: 0o750 });
    this.fd = openSync(settings.file, 'a', 0o600);
  }

  record(record: AuditRecord): void {
    const { peer, ...rest } = record;
    const who = peer === undefined ? {} : { uid: peer.uid, gid: peer.gid, pid: peer.pid };
    const line = `${JSON.stringify({ time: new Date().toISOString(), ...who, ...rest })}\n`;
    try {
      writeSync(this.fd, line);
    } catch (error) {
      if (this.settings.onError === 'count') this.lost++;
      else throw new AgentError('INTERNAL', 'the audit log cannot be written, so nothing is done', { cause: error });
    }
  }

  /** Opens the file anew, after it was rotated. */
  reopen(): void {
    const next = openSync(this.settings.file, 'a', 0o600);
    closeSync(this.fd);
    this.fd = next;
  }

  close(): void {
    closeSync(this.fd);
  }
}
