/**
 * Rates: a token bucket for each rule and uid, full at the start and as deep as what one unit of time refills. Kept as
 * one number, the time at which the bucket will be full again (the "virtual scheduling" form of ITU-T I.371). Reads no
 * clock.
 */
import type { Rule } from './rule.js';

export interface Rate {
  readonly count: number;
  readonly perMs: number;
}

/** Uids of one rule that are remembered before those with a full bucket are forgotten. */
const rememberedUids = 1024;

export class RateLimits {
  /** Times at which buckets are full again. A rule that was replaced takes its buckets with it. */
  readonly #fullAt = new WeakMap<Rule, Map<number, number>>();

  /**
   * Takes one from the bucket.
   * @param nowMs of a clock that never goes back
   * @returns 0, or in how many milliseconds the bucket will have one; nothing is taken then
   */
  take(rule: Rule, uid: number, nowMs: number): number {
    if (rule.rate === undefined) return 0;
    const buckets = this.#bucketsOf(rule, nowMs);
    const costMs = rule.rate.perMs / rule.rate.count;
    const fullAt = Math.max(buckets.get(uid) ?? 0, nowMs) + costMs;
    const lackingMs = fullAt - nowMs - rule.rate.perMs;
    // A sum of many costs strays from the exact value by far less than this.
    if (lackingMs > 1e-6 * rule.rate.perMs) return Math.ceil(lackingMs);
    buckets.set(uid, fullAt);
    return 0;
  }

  #bucketsOf(rule: Rule, nowMs: number): Map<number, number> {
    let buckets = this.#fullAt.get(rule);
    if (buckets === undefined) {
      buckets = new Map();
      this.#fullAt.set(rule, buckets);
    }
    if (buckets.size >= rememberedUids) {
      for (const [uid, fullAt] of buckets) if (fullAt <= nowMs) buckets.delete(uid);
    }
    return buckets;
  }
}
