/**
 * Whether the operations of one key are short enough to run on the event loop: below the cost of handing them
 * to another thread and back, waiting for that thread is the larger part. Each operation is measured, wherever it ran.
 */

/** Microseconds. A round trip through libuv's pool took 50 to 110 where it was measured, and its own part is more on a cold thread. */
const shortMax = 150;
/** Of so many the fastest counts: the scheduler is late more often than the token. */
const samples = 16;
/** In a row: one late operation is the scheduler's doing, several are the token's. */
const lateMax = 8;

export class Pace {
  #isShort = false;
  #measured = 0;
  #best = Infinity;
  #late = 0;

  /** Run the next operation on the event loop? Not before some were measured: nobody knows yet how long it takes. */
  get isShort(): boolean {
    return this.#isShort;
  }

  /** @param microseconds what an operation took */
  record(microseconds: number): void {
    this.#measured++;
    this.#best = Math.min(this.#best, microseconds);
    this.#late = microseconds > 2 * shortMax ? this.#late + 1 : 0;
    if (this.#late >= lateMax) this.#conclude(false);
    else if (this.#measured === samples) this.#conclude(this.#best <= shortMax);
  }

  #conclude(isShort: boolean): void {
    this.#isShort = isShort;
    this.#measured = 0;
    this.#best = Infinity;
    this.#late = 0;
  }
}
