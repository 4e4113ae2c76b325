/**
 * How many requests of one rule wait for a login at the same time: `hold_max`. A server whose every worker waits answers
 * nobody, not even over plain HTTP.
 */
import type { AgentError } from '@keyagent/protocol';
import type { Rule } from '../policy/rule.js';

export class Holds {
  /** Requests that wait now. A rule that was replaced takes its number with it. */
  readonly #waiting = new WeakMap<Rule, number>();

  /**
   * Waits under a rule, or rejects with what `refusal` says.
   * @param rule   undefined: as many may wait as come
   */
  async hold<T>(rule: Rule | undefined, refusal: () => AgentError, wait: () => Promise<T>): Promise<T> {
    if (rule?.holdMax === undefined) return wait();
    if (this.#count(rule) >= rule.holdMax) throw refusal();
    this.#waiting.set(rule, this.#count(rule) + 1);
    try {
      return await wait();
    } finally {
      this.#waiting.set(rule, this.#count(rule) - 1);
    }
  }

  #count(rule: Rule): number {
    return this.#waiting.get(rule) ?? 0;
  }
}
