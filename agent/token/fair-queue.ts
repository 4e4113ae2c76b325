/**
 * Places in front of a token, given out in turn: each uid has a queue of its own, and the queues are served one after
 * another, so one that floods delays itself. Bounded: when all is full, the longest queue loses its last.
 */
import { AgentError } from '@keyagent/protocol';
import type { Cancellation } from '../cancellation.js';

export interface FairQueueSettings {
  /** Requests that have a place at the same time. */
  readonly places: number;
  /** Requests that wait for one, of all uids. */
  readonly waiting: number;
  /** Said to those for whom there is no room. */
  readonly busy: string;
  /** When those are to try again. */
  readonly retryAfterMs: number;
}

interface Waiter {
  readonly admit: () => void;
  readonly refuse: (error: AgentError) => void;
}

/** In the order of arrival; a Set, so that one that gives up leaves without a search. */
type Lane = Set<Waiter>;

export class FairQueue {
  /** The next one to be served first. */
  readonly #lanes = new Map<number, Lane>();
  #taken = 0;
  #waiting = 0;

  constructor(private readonly settings: FairQueueSettings) {}

  get taken(): number {
    return this.#taken;
  }

  get waiting(): number {
    return this.#waiting;
  }

  /**
   * Runs `work` in a place of its own.
   * @param uid           whose turn it takes
   * @param cancellation  gives up waiting, with its reason; work that runs has its own ways to end
   */
  async run<T>(uid: number, cancellation: Cancellation, work: () => Promise<T>): Promise<T> {
    if (this.#taken < this.settings.places) this.#taken++;
    else await this.#wait(uid, cancellation);
    try {
      return await work();
    } finally {
      this.#passOn();
    }
  }

  #wait(uid: number, cancellation: Cancellation): Promise<void> {
    cancellation.throwIfCancelled();
    return new Promise((resolve, reject) => {
      const lane = this.#laneOf(uid);
      const leave = (): void => {
        cancellation.offCancel(giveUp);
        this.#remove(uid, lane, waiter);
      };
      const waiter: Waiter = {
        admit: () => {
          leave();
          resolve();
        },
        refuse: (error) => {
          leave();
          reject(error);
        },
      };
      const giveUp = (reason: Error): void => {
        leave();
        reject(reason);
      };
      cancellation.onCancel(giveUp);
      lane.add(waiter);
      this.#waiting++;
      if (this.#waiting > this.settings.waiting) this.#shorten(lane, waiter);
    });
  }

  /** Gives the place to the first of the lane whose turn it is; that lane then stands last. */
  #passOn(): void {
    const [turn] = this.#lanes;
    if (turn === undefined) {
      this.#taken--;
      return;
    }
    const [uid, lane] = turn;
    const [first] = lane;
    this.#lanes.delete(uid);
    this.#lanes.set(uid, lane);
    first?.admit();
  }

  /** @param newest  the one that is too many; the last of its lane */
  #shorten(its: Lane, newest: Waiter): void {
    let longest = its;
    for (const lane of this.#lanes.values()) if (lane.size > longest.size) longest = lane;
    const { busy, retryAfterMs } = this.settings;
    const last = longest === its ? newest : [...longest].at(-1);
    last?.refuse(new AgentError('BUSY', busy, { retryAfterMs }));
  }

  #laneOf(uid: number): Lane {
    let lane = this.#lanes.get(uid);
    if (lane === undefined) {
      lane = new Set();
      this.#lanes.set(uid, lane);
    }
    return lane;
  }

  /** A lane exists as long as somebody stands in it. */
  #remove(uid: number, lane: Lane, waiter: Waiter): void {
    lane.delete(waiter);
    this.#waiting--;
    if (lane.size === 0) this.#lanes.delete(uid);
  }
}
