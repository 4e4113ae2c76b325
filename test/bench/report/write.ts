/** Keeps a run: docs/bench/results.json, a plot for each comparison, and the table in the README. */
import { mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { root } from '../../support/paths.js';
import type { Measured } from '../figure.js';
import type { Machine } from '../machine.js';
import { plot } from './plot.js';
import { shown } from './text.js';

export interface Run {
  readonly machine: Machine;
  /** YYYY-MM-DD */
  readonly takenAt: string;
  readonly results: readonly Measured[];
}

const folder = path.join(root, 'docs/bench');
const marks = { begin: '<!-- bench -->', end: '<!-- /bench -->' };

/** A run of some figures replaces those and keeps the others. */
export function writeResults(run: Run): void {
  mkdirSync(folder, { recursive: true });
  const merged = { ...run, results: merge(earlier(), run.results) };
  writeFileSync(resultsFile(), `${JSON.stringify(merged, undefined, 1)}\n`);
  for (const measured of merged.results) {
    if (measured.series.length > 1) writeFileSync(path.join(folder, `${measured.id}.svg`), plot(measured));
  }
  const readme = path.join(root, 'README.md');
  writeFileSync(readme, withTable(readFileSync(readme, 'utf8'), merged));
}

export function resultsFile(): string {
  return path.join(folder, 'results.json');
}

function earlier(): readonly Measured[] {
  try {
    return (JSON.parse(readFileSync(resultsFile(), 'utf8')) as Run).results;
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return [];
    throw error;
  }
}

function merge(old: readonly Measured[], fresh: readonly Measured[]): Measured[] {
  const renewed = old.map((each) => fresh.find(({ id }) => id === each.id) ?? each);
  return [...renewed, ...fresh.filter(({ id }) => !old.some((each) => each.id === id))];
}

/** @returns the README with the table between its marks replaced */
export function withTable(readme: string, run: Run): string {
  const [before, rest] = readme.split(marks.begin);
  const after = rest?.split(marks.end)[1];
  if (before === undefined || after === undefined) throw new Error(`README.md lacks ${marks.begin}`);
  return `${before}${marks.begin}\n\n${table(run)}\n${marks.end}${after}`;
}

function table({ results, machine, takenAt }: Run): string {
  const rows = results.flatMap(({ title, unit, outcomes, series }) =>
    outcomes.map(({ of, against, value, atMost, atLeast, reached }) => {
      const own = series.find(({ name }) => name === of);
      const measured = `${shown(own?.median ?? NaN)} ${unit}`;
      const ratio = against === undefined ? shown(value) : `${shown(value)}x ${against}`;
      const target = atMost === undefined ? `≥ ${String(atLeast)}` : `≤ ${atMost}`;
      return [title, measured, ratio, `${target}${reached ? '' : ' (missed)'}`];
    }),
  );
  const lines = [['what', 'keyagent', 'ratio', 'aim'], ['---', '---', '---', '---'], ...rows];
  const note = `${takenAt}, ${machine.cores} cores (${machine.processor}) shared by clients, servers and agent, SoftHSM ${String(machine.packages.softhsm2)}.`;
  return `${lines.map((cells) => `| ${cells.join(' | ')} |`).join('\n')}\n\n${note}\n`;
}
