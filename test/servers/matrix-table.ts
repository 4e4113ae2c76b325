/**
 * What the matrix measures, for the table in docs/servers/matrix.md: each file of tests keeps its part when asked, so that a test
 * leaves no trace otherwise. test/report/matrix.ts writes the table.
 */
import { mkdirSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { root } from '../support/paths.js';
import type { Cell } from './cells.js';
import { kinds } from './fleet.js';

export interface Tally {
  tried: number;
  failed: number;
}

export interface Shaken {
  server: string;
  /** What happened while clients connected. */
  event: string;
  tried: number;
  failed: number;
  /** Of failures that have nothing to do with keys. */
  because: string | undefined;
}

/** What one file of tests measured. */
export interface Part {
  cells: readonly (Cell & Tally)[];
  shaken: readonly Shaken[];
}

export const tableFile = path.join(root, 'docs/servers/matrix.md');
/** One file for each part: the files of tests run beside each other. */
const folder = path.join(root, 'build/matrix');

/** A row without its numbers: what a cell looks like in the table. */
export function rowOf({ server, key, mode }: Cell): string {
  const model = server === 'curl' ? 'one process' : kinds[server].model;
  return `| ${server} | ${model} | ${key} | ${mode} |`;
}

/** If the environment asks for it. */
export function record(group: string, part: Part): void {
  if (process.env.KEYAGENT_WRITE_MATRIX !== '1') return;
  mkdirSync(folder, { recursive: true });
  writeFileSync(path.join(folder, `${group}.json`), JSON.stringify(part));
}

export function recordedParts(): Part[] {
  return readdirSync(folder).map((name) => JSON.parse(readFileSync(path.join(folder, name), 'utf8')) as Part);
}
