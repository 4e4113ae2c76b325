/** One line of the log, read with no trust in it: its place in the chain, or undefined for what is no whole record. */
import { z } from 'zod';
import type { Opening } from './record.js';

export interface Line {
  readonly seq: number;
  readonly prev: string;
  /** Of a line that opens the log. */
  readonly opening: Opening | undefined;
}

const count = z.int().nonnegative();
const line = z.object({ seq: count, prev: z.string(), event: z.string() });
const opening: z.ZodType<Opening> = z.object({
  event: z.literal('log'),
  reason: z.enum(['start', 'rotation', 'failure']),
  anchor: z.object({
    seq: count,
    hash: z.string(),
    state: z.enum(['open', 'closed', 'missing', 'forged']),
    synced: count,
  }),
  rebooted: z.boolean(),
  unfinished: count.optional(),
  unrecorded: count.optional(),
});

export function parseLine(bytes: Buffer): Line | undefined {
  let value: unknown;
  try {
    value = JSON.parse(bytes.toString('utf8'));
  } catch {
    // Cut in the middle, or never JSON: the caller says which lines may be.
    return undefined;
  }
  const place = line.safeParse(value);
  if (!place.success) return undefined;
  const { seq, prev, event } = place.data;
  if (event !== 'log') return { seq, prev, opening: undefined };
  const details = opening.safeParse(value);
  return details.success ? { seq, prev, opening: details.data } : undefined;
}
