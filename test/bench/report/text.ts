/** A measured figure as lines for a terminal. */
import type { Measured, Outcome } from '../figure.js';

export function figureText({ title, unit, series, outcomes }: Measured): string {
  const width = Math.max(...series.map(({ name }) => name.length));
  const rows = series.map(({ name, median }) => `  ${name.padEnd(width)}  ${shown(median)} ${unit}`);
  const judged = outcomes.map(
    (outcome) => `  ${outcome.reached ? 'ok    ' : 'MISSED'}  ${outcomeText(outcome)}`,
  );
  return `\n${title}\n${[...rows, ...judged].join('\n')}\n`;
}

export function outcomeText({ of, against, value, atMost, atLeast }: Outcome): string {
  const what = against === undefined ? of : `${of} / ${against}`;
  const limit = atMost === undefined ? `at least ${String(atLeast)}` : `at most ${atMost}`;
  return `${what}: ${shown(value)} (${limit})`;
}

/** Three figures that count. */
export function shown(value: number): string {
  if (Math.abs(value) >= 1000) return Math.round(value).toLocaleString('en');
  return String(Number(value.toPrecision(3)));
}
