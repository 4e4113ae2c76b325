/** Rates as operators write them: 2000/s, 100/m, 10/h. Output: how many in how many milliseconds. */
import type { Rate } from '../policy/rate.js';

const unitMs = { s: 1000, m: 60_000, h: 3_600_000 } as const;

export const rateForm = 'a rate such as "2000/s", "100/m" or "10/h"';

/** @returns undefined if the text is not such a rate, or 0 */
export function parseRate(text: string): Rate | undefined {
  const [, count, unit] = /^([1-9]\d{0,8})\/([smh])$/.exec(text) ?? [];
  if (count === undefined) return undefined;
  return { count: Number(count), perMs: unitMs[unit as keyof typeof unitMs] };
}
