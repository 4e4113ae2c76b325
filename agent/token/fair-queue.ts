/**
 * Places in front of a token, given out in turn: each user (a lane) has a queue of its own, and the queues are served one
 * after another, so one that floods delays itself. Whoever asked lately and has no place finds one free, so that a user
 * who asks now and then waits for no queue. Bounded: when all is full, the longest queue loses its last.
 */
import { AgentError } from '@keyagent/protocol';
import type { Cancellation } from '../cancellation.js';

export interface FairQueueSettings {
  /** Requests that have a place at the same time. */
  readonly places: number;
  /** Requests that wait for one, of all lanes. */
  readonly waiting: number;
  /** Said to those for whom there is no room. */
  readonly busy: string;
  /** When those are to try again. */
  readonly retryAfterMs: number;
  /** Milliseconds of a clock that never goes back. */
  readonly now?: () => number;
}

/** Who waits in turn with others: a uid, or a unit where rules go by unit. */
export type LaneName = number | string;

interface Waiter {
  readonly admit: () => void;
  readonly giveUp: (reason: Error) => void;
  readonly cancellation: Cancellation;
}

interface Lane {
  /** In the order of arrival; a Set, so that one that gives up leaves without a search. */
  readonly waiters: Set<Waiter>;
  /** Places that it has. */
  taken: number;
  /** When it last asked or gave back a place. */
  seenAt: number;
}

/** How long a place is kept for a lane that has asked, milliseconds. */
const keptMs = 1000;
/** Of the places, however many have asked. */
const keptPart = 1 / 4;

export class FairQueue {
  /** Those that have, want or lately had a place; the next one to be served first. */
  readonly #lanes = new Map<LaneName, Lane>();
  readonly #now: () => number;
  #taken = 0;
  #waiting = 0;

  constructor(private readonly settings: FairQueueSettings) {
    this.#now = settings.now ?? (() => performance.now());
  }

  get taken(): number {
    return this.#taken;
  }

  get waiting(): number {
    return this.#waiting;
  }

  /**
   * Runs `work` in a place of its own.
   * @param name          whose turn it takes
   * @param cancellation  gives up waiting, with its reason; work that runs has its own ways to end
   */
  run<T>(name: LaneName, cancellation: Cancellation, work: () => Promise<T>): Promise<T> {
    const lane = this.#laneOf(name);
    if (lane.waiters.size > 0 || !this.#mayTake(lane)) {
      return this.#wait(lane, cancellation).then(() => this.#inPlace(lane, work));
    }
    this.#take(lane);
    return this.#inPlace(lane, work);
  }

  async #inPlace<T>(lane: Lane, work: () => Promise<T>): Promise<T> {
    try {
      return await work();
    } finally {
      lane.taken--;
      this.#taken--;
      lane.seenAt = this.#now();
      this.#passOn();
    }
  }

  #mayTake(lane: Lane): boolean {
    const free = this.settings.places - this.#taken;
    return free > 0 && (lane.taken === 0 || free > this.#keptFor(lane));
  }

  #take(lane: Lane): void {
    lane.taken++;
    this.#taken++;
  }

  /** Places that this lane leaves to others: one for each that asked lately and has none, but a few at most. */
  #keptFor(lane: Lane): number {
    const most = Math.floor(this.settings.places * keptPart);
    const since = this.#now() - keptMs;
    let kept = 0;
    for (const [name, other] of this.#lanes) {
      if (kept === most) break;
      if (other === lane || other.taken > 0) continue;
      if (other.waiters.size > 0 || other.seenAt >= since) kept++;
      else this.#lanes.delete(name);
    }
    return kept;
  }

  #wait(lane: Lane, cancellation: Cancellation): Promise<void> {
    cancellation.throwIfCancelled();
    return new Promise((resolve, reject) => {
      const giveUp = (reason: Error): void => {
        this.#leave(lane, waiter);
        reject(reason);
      };
      const waiter: Waiter = { admit: resolve, giveUp, cancellation };
      cancellation.onCancel(giveUp);
      lane.waiters.add(waiter);
      this.#waiting++;
      if (this.#waiting > this.settings.waiting) this.#shorten(lane, waiter);
    });
  }

  #leave(lane: Lane, waiter: Waiter): void {
    waiter.cancellation.offCancel(waiter.giveUp);
    lane.waiters.delete(waiter);
    this.#waiting--;
  }

  /** Gives free places to the first of each lane whose turn it is; a lane that was served then stands last. */
  #passOn(): void {
    for (let served = true; served;) {
      served = false;
      for (const [name, lane] of this.#lanes) {
        const [first] = lane.waiters;
        if (first === undefined || !this.#mayTake(lane)) continue;
        this.#lanes.delete(name);
        this.#lanes.set(name, lane);
        this.#leave(lane, first);
        this.#take(lane);
        first.admit();
        served = true;
        break;
      }
    }
  }

  /** @param newest  the one that is too many; the last of its lane */
  #shorten(its: Lane, newest: Waiter): void {
    let longest = its;
    for (const lane of this.#lanes.values()) if (lane.waiters.size > longest.waiters.size) longest = lane;
    const { busy, retryAfterMs } = this.settings;
    const last = longest === its ? newest : [...longest.waiters].at(-1);
    last?.giveUp(new AgentError('BUSY', busy, { retryAfterMs }));
  }

  #laneOf(name: LaneName): Lane {
    let lane = this.#lanes.get(name);
    if (lane === undefined) {
      lane = { waiters: new Set(), taken: 0, seenAt: 0 };
      this.#lanes.set(name, lane);
    }
    lane.seenAt = this.#now();
    return lane;
  }
}
