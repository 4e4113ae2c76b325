/**
 * Whether the operations of one key are short enough to run on the event loop: below the cost of handing them
 * to another thread and back, waiting for that thread is the larger part. Each operation is measured, wherever it ran.
 */

/** Microseconds. A round trip through libuv's pool took 50 to 110 where it was measured, and its own part is more on a cold thread. */
const shortMax = 150;
/**
 * Of so many the fastest is to be short: on a thread that was just woken most take twice their time. And most are to be
 * near it: a token that is slow now and then would hold up everybody.
 */
const samples = 16;
const lateMin = 2 * shortMax;
/** So many late ones in a row are the token's doing; they held up everybody. */
const lateMax = 3;

export class Pace {
  #isShort = false;
  #measured: number[] = [];
  #late = 0;

  /** Run the next operation on the event loop? Not before some were measured: nobody knows yet how long it takes. */
  get isShort(): boolean {
    return this.#isShort;
  }

  /**
   * @param microseconds what an operation took
   * @param succeeded    a token may be quick to refuse
   */
  record(microseconds: number, succeeded = true): void {
    if (!succeeded && microseconds <= shortMax) return;
    this.#measured.push(microseconds);
    this.#late = microseconds > lateMin ? this.#late + 1 : 0;
    if (this.#late >= lateMax) this.#conclude(false);
    else if (this.#measured.length === samples) this.#conclude(areShort(this.#measured));
  }

  #conclude(isShort: boolean): void {
    this.#isShort = isShort;
    this.#measured = [];
    this.#late = 0;
  }
}

function areShort(measured: readonly number[]): boolean {
  const late = measured.filter((microseconds) => microseconds > lateMin);
  return Math.min(...measured) <= shortMax && late.length < measured.length / 2;
}
