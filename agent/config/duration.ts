/** Durations as operators write them: 500ms, 30s, 30m, 12h, 7d. Output: milliseconds. */

const unitMs = { ms: 1, s: 1000, m: 60_000, h: 3_600_000, d: 86_400_000 } as const;

export const durationForm = 'a duration such as "500ms", "30s", "30m" or "12h", at most 24 days';

/** The longest delay of a timer: setTimeout fires at once beyond it. */
const maxMs = 2 ** 31 - 1;

/** @returns whole milliseconds from 1 to 2^31-1 (24 days); undefined if the text is not such a duration */
export function parseDuration(text: string): number | undefined {
  const match = /^(\d{1,10})(ms|s|m|h|d)$/.exec(text);
  if (!match) return undefined;
  const durationMs = Number(match[1]) * unitMs[match[2] as keyof typeof unitMs];
  return durationMs >= 1 && durationMs <= maxMs ? durationMs : undefined;
}
