/** What the agent wrote down. */
import { readFileSync } from 'node:fs';
import type { Agent } from './agent.js';

export interface AuditRecord {
  event: string;
  outcome: string;
  uid?: number;
  gid?: number;
  pid?: number;
  token?: string;
  key?: string;
  rule?: string;
  alg?: string;
  source?: string;
  cause?: string;
  cards?: { label: string; serial: string }[];
  config?: string;
}

export function auditOf(agent: Agent): AuditRecord[] {
  const lines = readFileSync(agent.auditFile, 'utf8')
    .split('\n')
    .filter((line) => line !== '');
  return lines.map((line) => JSON.parse(line) as AuditRecord);
}
