/** A log in a folder of the test's own, written by real AuditLogs, and what an intruder could do to its lines. */
import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import type { TestContext } from 'node:test';
import { fileURLToPath } from 'node:url';
import { AuditLog, type AuditSettings } from '@keyagent/agent/audit/audit-log.js';
import { headPaths, readHeadKey } from '@keyagent/agent/audit/head.js';
import type { AuditRecord, Position } from '@keyagent/agent/audit/record.js';
import { verify, type Verification } from '@keyagent/agent/audit/verify.js';

export const killedWriter = fileURLToPath(new URL('killed-writer.js', import.meta.url));

export const signed: AuditRecord = {
  event: 'sign',
  outcome: 'ok',
  peer: { uid: 33, gid: 33, pid: 4711 },
  key: 'pkcs11:token=web;object=www',
  alg: 'ecdsa-sha256',
  mechanism: 'ecdsa',
  rule: 'apache',
  queueUs: 12,
  tokenUs: 345,
};

type Start = readonly [command: string, ...args: string[]];

interface Elsewhere {
  file?: string;
  stateDir?: string;
  expected?: readonly Position[];
}

export class ScratchLog {
  readonly folder = mkdtempSync(path.join(tmpdir(), 'keyagent-audit-'));
  readonly file = path.join(this.folder, 'audit.jsonl');
  /** What the log told its agent. */
  readonly told: string[] = [];
  /** Run before the folder is removed. */
  readonly undo: (() => void)[] = [];

  constructor(t: TestContext) {
    t.after(() => {
      for (const undo of this.undo.reverse()) undo();
      rmSync(this.folder, { recursive: true });
    });
  }

  get headFile(): string {
    return headPaths(this.folder).head;
  }

  get keyFile(): string {
    return headPaths(this.folder).key;
  }

  open(settings: Partial<AuditSettings> = {}): AuditLog {
    const log = new AuditLog({
      file: this.file,
      stateDir: this.folder,
      onError: 'deny',
      tell: (message) => this.told.push(message),
      ...settings,
    });
    this.undo.push(() => log.close());
    return log;
  }

  /** An agent's life: it signs this often, and ends in order. */
  async live(signatures: number): Promise<void> {
    const log = this.open();
    await sign(log, signatures);
    log.close();
  }

  /** An agent that ends by SIGKILL after this many signatures. */
  killAfter(
    signatures: number,
    how = 'kill',
    [command, ...args]: Start = [process.execPath],
    env = {},
  ): void {
    const argv = [...args, killedWriter, this.file, this.folder, String(signatures), how];
    const { signal, stderr } = spawnSync(command, argv, { env: { ...process.env, ...env } });
    assert.equal(signal, 'SIGKILL', String(stderr));
  }

  lines(file = this.file): string[] {
    return readFileSync(file, 'utf8').split('\n').slice(0, -1);
  }

  records(file = this.file): Record<string, unknown>[] {
    return this.lines(file).map((line) => JSON.parse(line) as Record<string, unknown>);
  }

  /** Replaces the lines. */
  tamper(change: (lines: string[]) => readonly string[]): void {
    const lines = change(this.lines());
    writeFileSync(this.file, lines.map((line) => `${line}\n`).join(''));
  }

  verify({ file = this.file, stateDir = this.folder, expected = [] }: Elsewhere = {}): Promise<Verification> {
    const { head: headFile, key } = headPaths(stateDir);
    return verify({ file, headFile, key: readHeadKey(key), expected });
  }

  async warnings(): Promise<string[]> {
    const { warnings } = await this.verify();
    return warnings.map(({ file, line, text }) => `${path.basename(file)}:${line}: ${text}`);
  }

  /** What verification says of a log that was tampered with, or "good". */
  async verdict(expected: readonly Position[] = []): Promise<string> {
    try {
      await this.verify({ expected });
      return 'good';
    } catch (error) {
      if (!(error instanceof Error) || error.name !== 'Tampered') throw error;
      return error.message.replaceAll(`${this.folder}/`, '');
    }
  }
}

export async function sign(log: AuditLog, count: number): Promise<void> {
  for (let i = 0; i < count; i++) await log.record({ ...signed, queueUs: i });
}
