/**
 * The state of a token, and the requests that wait for it. A request is held only until the token was looked for once, while
 * a login or a host restart is under way, or until a token returns that left where its configuration says so: a server's
 * thread must not hang on an operator.
 */
import { EventEmitter } from 'node:events';
import { AgentError, type TokenState } from '@keyagent/protocol';
import type { Cancellation } from '../cancellation.js';

/** Requests of one token that wait at the same time. */
const heldMax = 256;

/** Runs `wait`, or rejects with `refusal` where whoever asks has as many requests waiting as may wait. */
export type Hold = <T>(refusal: () => AgentError, wait: () => Promise<T>) => Promise<T>;

export class Availability extends EventEmitter<{ change: [] }> {
  /** Why it is in this state and what to do. */
  detail = 'starting';
  /** How often it ceased to be unlocked. */
  departures = 0;
  #state: TokenState = 'absent';
  #held = 0;
  /** Nobody knows yet whether it is there. */
  #opens = true;
  /** It was unlocked when it left, and requests are held until it is back. */
  #returns = false;

  /**
   * @param token   its name, for messages
   * @param limits  holdMs: the longest wait of a request that comes now
   */
  constructor(
    private readonly token: string,
    private readonly limits: { readonly holdMs: number },
  ) {
    super();
    // Every held request listens for the next state.
    this.setMaxListeners(heldMax + 16);
  }

  get state(): TokenState {
    return this.#state;
  }

  /** @returns whether the state is another one than before */
  set(state: TokenState, detail: string): boolean {
    this.detail = detail;
    const opened = this.#opens;
    this.#opens = false;
    if (state === this.#state) {
      if (opened) this.emit('change');
      return false;
    }
    if (this.#state === 'unlocked') this.departures++;
    this.#state = state;
    this.#returns = false;
    this.emit('change');
    return true;
  }

  /** Of a token that just became absent: requests wait for its return. */
  awaitReturn(): void {
    this.#returns = true;
  }

  /** It will not come back unlocked: nobody need wait for it any more. */
  giveUpReturn(): void {
    if (!this.#returns) return;
    this.#returns = false;
    this.emit('change');
  }

  /** Whether a request may wait for it. */
  get isAwaited(): boolean {
    return this.#state === 'unlocking' || this.#returns || this.#opens;
  }

  /** Resolves once the token is unlocked; rejects with what stands in the way, or the reason why it is no longer wanted. */
  async unlocked(cancellation: Cancellation): Promise<void> {
    const deadline = performance.now() + this.limits.holdMs;
    while (this.#state !== 'unlocked') {
      if (!this.isAwaited || performance.now() >= deadline) throw this.reason();
      await this.nextChange(cancellation, deadline - performance.now());
    }
  }

  /** Why nothing can be done with the token now. */
  reason(): AgentError {
    switch (this.#state) {
      case 'absent':
        if (this.#opens)
          return new AgentError('TOKEN_ABSENT', `token ${this.token} is still being opened; try again`);
        return new AgentError('TOKEN_ABSENT', `token ${this.token} is not there: ${this.detail}`);
      case 'failed':
        return new AgentError('TOKEN_ERROR', `token ${this.token} failed: ${this.detail}`);
      case 'unlocking':
        return new AgentError('LOCKED', `token ${this.token} is still being unlocked; try again`);
      case 'locked':
      case 'pin-blocked':
      case 'unlocked':
        return new AgentError('LOCKED', `token ${this.token} is locked: ${this.detail}`);
    }
  }

  /** Resolves at the next change or after `ms`. Rejects with BUSY when too many wait, or when it is cancelled. */
  async nextChange(cancellation: Cancellation, ms: number): Promise<void> {
    if (this.#held >= heldMax) {
      throw new AgentError('BUSY', 'too many requests wait for the login; try again', { retryAfterMs: 500 });
    }
    cancellation.throwIfCancelled();
    this.#held++;
    return new Promise<void>((resolve, reject) => {
      const release = (): void => {
        clearTimeout(timer);
        this.off('change', changed);
        cancellation.offCancel(cancelled);
        this.#held--;
      };
      const changed = (): void => {
        release();
        resolve();
      };
      const cancelled = (reason: Error): void => {
        release();
        reject(reason);
      };
      const timer = setTimeout(changed, ms);
      this.once('change', changed);
      cancellation.onCancel(cancelled);
    });
  }
}
