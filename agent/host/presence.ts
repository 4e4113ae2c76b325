/**
 * Watches whether the token is there. Polls only while nothing else talks to it: an operation that succeeded is
 * proof enough. Output: one callback for each change.
 */

/** Milliseconds. */
const presentInterval = 1000;
const absentInterval = { min: 1000, max: 30_000 } as const;

export interface PresenceCallbacks {
  /** Throws if the token is not there. */
  check(): void;
  changed(present: boolean): void;
}

export class Presence {
  readonly #callbacks: PresenceCallbacks;
  #present = true;
  /** Milliseconds of process.uptime, so that a change of the clock changes nothing here. */
  #seenAt = uptimeMs();
  #lostAt = 0;
  #timer: NodeJS.Timeout | undefined;

  constructor(callbacks: PresenceCallbacks) {
    this.#callbacks = callbacks;
  }

  get present(): boolean {
    return this.#present;
  }

  start(): void {
    this.#schedule();
  }

  stop(): void {
    clearTimeout(this.#timer);
  }

  /** An operation of the token succeeded. */
  seen(): void {
    this.#seenAt = uptimeMs();
    if (!this.#present) this.#change(true);
  }

  /** A call returned that the token is gone. */
  lost(): void {
    if (this.#present) this.#change(false);
  }

  #change(present: boolean): void {
    this.#present = present;
    if (!present) this.#lostAt = uptimeMs();
    this.#schedule();
    this.#callbacks.changed(present);
  }

  #schedule(): void {
    clearTimeout(this.#timer);
    this.#timer = setTimeout(() => this.#poll(), this.#interval());
    this.#timer.unref();
  }

  /** 1 s when the token has just gone, growing to 30 s with the length of its absence. */
  #interval(): number {
    if (this.#present) return presentInterval;
    const absence = uptimeMs() - this.#lostAt;
    return Math.min(Math.max(absence / 4, absentInterval.min), absentInterval.max);
  }

  #poll(): void {
    const seenLately = this.#present && uptimeMs() - this.#seenAt < presentInterval;
    const present = seenLately || this.#isThere();
    if (present === this.#present) this.#schedule();
    else this.#change(present);
  }

  #isThere(): boolean {
    try {
      this.#callbacks.check();
      return true;
    } catch {
      return false;
    }
  }
}

function uptimeMs(): number {
  return process.uptime() * 1000;
}
