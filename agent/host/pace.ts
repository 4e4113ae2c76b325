/**
 * Whether the operations of one key are short enough to run on the event loop: below the cost of handing them
 * to another thread and back, waiting for that thread is the larger part. The first operations are measured.
 */

/** Microseconds. A round trip through libuv's pool took 50 to 110 where it was measured. */
const shortMax = 150;
/** The first ones find their code and the token's in no cache. */
const samples = 16;
/** In a row: one late operation is the scheduler's doing, several are the token's. */
const lateMax = { sample: 3, later: 8 } as const;

export class Pace {
  #measured = 0;
  #best = Infinity;
  #late = 0;

  /** Run the next operation synchronously? */
  get synchronous(): boolean {
    if (this.#measured < samples) return this.#late < lateMax.sample;
    return this.#late < lateMax.later && this.#best <= shortMax;
  }

  /** @param microseconds what a synchronous operation took */
  record(microseconds: number): void {
    this.#measured++;
    this.#best = Math.min(this.#best, microseconds);
    this.#late = microseconds > 2 * shortMax ? this.#late + 1 : 0;
  }
}
