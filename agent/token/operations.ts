/**
 * Sign and decrypt on one token: who has a turn, which host does it, and what runs once more after a failure in which
 * the token did nothing, or nobody knows what it did.
 */
import { EventEmitter, once } from 'node:events';
import { AgentError, type ErrorCode } from '@keyagent/protocol';
import type { Cancellation } from '../cancellation.js';
import type { HostParams, HostResult } from '../host/host-protocol.js';
import type { Availability, Hold } from './availability.js';
import { FairQueue, type LaneName } from './fair-queue.js';
import { HostLost } from './host-process.js';
import type { HostSlot, OneUse } from './host-slot.js';
import type { ServedKey } from './served-key.js';

export interface PerformOptions {
  /** Who waits in turn with others. */
  readonly lane: LaneName;
  readonly cancellation: Cancellation;
  /** What a wait for a login goes through. */
  readonly hold: Hold;
  /** The client already repeated it once, so nobody repeats it again. */
  readonly repeated: boolean;
  /** Called when a host gets the operation; a second time if it runs again. */
  sent(): void;
}

/** Completes what sign and decrypt take by the number that the chosen host gave to the key. */
export type PerformParams<O extends 'sign' | 'decrypt'> = (ref: number) => HostParams<O>;

/** Brings the PIN for one use of a key that asks for it each time (CKA_ALWAYS_AUTHENTICATE), or refuses. */
export type ContextLogin = <T>(
  key: ServedKey,
  cancellation: Cancellation,
  use: (oneUse: OneUse) => Promise<T>,
) => Promise<T>;

export interface OperationParts {
  /** Name of the token, for errors. */
  readonly token: string;
  /** Of all its hosts. */
  readonly sessions: number;
  readonly availability: Availability;
  readonly slots: readonly HostSlot[];
  readonly contextLogin: ContextLogin;
  /** A host has no login any more, and nobody ended it; others may have theirs. */
  readonly loginLost: () => void;
  /** The key left, or another one is in its place. */
  readonly keyChanged: () => void;
}

/** One request on its way. */
interface Errand<O extends 'sign' | 'decrypt'> {
  readonly operation: O;
  readonly key: ServedKey;
  readonly params: PerformParams<O>;
  readonly options: PerformOptions;
  /** The departures of the token when a host got the operation; undefined: none got it. */
  sentAfter: number | undefined;
  /** It was in flight when a host crashed. */
  isSuspect: boolean;
}

/**
 * Hosts get so many more operations than they have sessions, for a session to go on with while its last answer is on the
 * way to the agent, and the next request on the way back. More would stand before others' requests, out of turn.
 */
const aheadPart = 1 / 4;
/** Requests of one token that wait for their turn. */
const waitingMax = 4096;
/** A token that leaves more often during one request does not work: each repetition costs a login. */
const repeatsMax = 3;
/** What a module says once the login or the token is gone: some call that any error. */
const goneCodes: readonly ErrorCode[] = ['LOCKED', 'TOKEN_ABSENT', 'TOKEN_ERROR'];

/** 'idle' when nothing is unanswered any more. */
export class Operations extends EventEmitter<{ idle: [] }> {
  /** Those that a host got since the agent started: tells whether the token is in use. */
  count = 0;
  /** Requests that are unanswered. */
  private asked = 0;
  /** What no host takes yet waits here, in turn: a host serves whoever came first. */
  private readonly queue: FairQueue;
  /** For keys that ask for the PIN at every use: one at a time, and in nobody else's place. */
  private readonly pinQueue: FairQueue;
  /** Requests that were in flight when a host crashed run again one at a time. */
  private suspects: Promise<unknown> = Promise.resolve();

  constructor(private readonly parts: OperationParts) {
    super();
    this.queue = queueOf(parts.token, parts.sessions + Math.floor(parts.sessions * aheadPart));
    this.pinQueue = queueOf(parts.token, 1);
  }

  /** Settles when all that was asked is answered; rejects when the signal fires. */
  async idle(signal: AbortSignal): Promise<void> {
    if (this.asked > 0) await once(this, 'idle', { signal });
  }

  async perform<O extends 'sign' | 'decrypt'>(
    operation: O,
    key: ServedKey,
    params: PerformParams<O>,
    options: PerformOptions,
  ): Promise<HostResult<O>> {
    this.asked++;
    const errand: Errand<O> = { operation, key, params, options, sentAfter: undefined, isSuspect: false };
    try {
      for (let repeats = 0; ;) {
        try {
          // Who waits for a login takes nobody's place, nor keeps one: each of them counts for hold_max.
          if (!this.isUnlocked) await this.unlocked(options);
          const result = await this.inTurn(errand);
          if (result !== undefined) return result;
        } catch (error) {
          if (repeats++ === repeatsMax) throw error;
          this.repeatOrThrow(errand, error);
        }
      }
    } catch (error) {
      if (isRotation(error)) this.parts.keyChanged();
      throw error;
    } finally {
      if (--this.asked === 0) this.emit('idle');
    }
  }

  /** undefined: the login went while it waited for its turn. */
  private inTurn<O extends 'sign' | 'decrypt'>(errand: Errand<O>): Promise<HostResult<O> | undefined> {
    const work = (): Promise<HostResult<O> | undefined> =>
      this.isUnlocked ? this.onHost(errand) : Promise.resolve(undefined);
    if (errand.isSuspect) return this.alone(work);
    const { lane, cancellation } = errand.options;
    const queue = errand.key.alwaysAuthenticate ? this.pinQueue : this.queue;
    return queue.run(lane, cancellation, work);
  }

  /** Returns if the operation is to run once more. */
  private repeatOrThrow<O extends 'sign' | 'decrypt'>(errand: Errand<O>, error: unknown): void {
    const { key, options, sentAfter, isSuspect } = errand;
    if (sentAfter === undefined || options.repeated) throw error;
    const hostLost = error instanceof HostLost;
    const comesBack = !hostLost && this.comesBack(error, sentAfter);
    // Each use of such a key is a login of its own, and none is tried twice.
    if (key.alwaysAuthenticate) throw error;
    if (hostLost ? isSuspect : !comesBack) throw error;
    errand.isSuspect ||= hostLost;
    errand.sentAfter = undefined;
  }

  /** Nothing was signed because the login or the token is gone; either is awaited, or back already. */
  private comesBack(error: unknown, sentAfter: number): boolean {
    if (!(error instanceof AgentError) || !goneCodes.includes(error.code)) return false;
    const { availability, slots, loginLost } = this.parts;
    if (this.isUnlocked && availability.departures !== sentAfter) return true;
    const othersServe = slots.some(({ loggedIn }) => loggedIn);
    const isLocked = error.code === 'LOCKED';
    if (this.isUnlocked && (isLocked || !othersServe)) loginLost();
    return availability.isAwaited || (isLocked && othersServe);
  }

  private alone<T>(work: () => Promise<T>): Promise<T> {
    const run = this.suspects.then(work);
    this.suspects = run.catch(() => undefined);
    return run;
  }

  private get isUnlocked(): boolean {
    return this.parts.availability.state === 'unlocked';
  }

  private async unlocked({ cancellation, hold }: PerformOptions): Promise<void> {
    const { availability } = this.parts;
    await hold(
      () => availability.reason(),
      () => availability.unlocked(cancellation),
    );
  }

  private onHost<O extends 'sign' | 'decrypt'>(errand: Errand<O>): Promise<HostResult<O>> {
    const { operation, key, params, options } = errand;
    // It may have waited long for its turn.
    options.cancellation.throwIfCancelled();
    options.sent();
    errand.sentAfter = this.parts.availability.departures;
    if (!key.alwaysAuthenticate) return this.idlest().perform(operation, key.identity, params);
    return this.parts.contextLogin(key, options.cancellation, (oneUse) =>
      this.idlest().perform(operation, key.identity, params, oneUse),
    );
  }

  private idlest(): HostSlot {
    let idlest: HostSlot | undefined;
    for (const slot of this.parts.slots) {
      if (slot.loggedIn && (idlest === undefined || slot.inFlight < idlest.inFlight)) idlest = slot;
    }
    if (idlest === undefined) throw this.parts.availability.reason();
    this.count++;
    return idlest;
  }
}

function isRotation(error: unknown): boolean {
  return error instanceof AgentError && (error.code === 'NOT_FOUND' || error.code === 'KEY_MISMATCH');
}

function queueOf(token: string, places: number): FairQueue {
  const busy = `token ${token} has too many requests waiting; try again`;
  return new FairQueue({ places, waiting: waitingMax, busy, retryAfterMs: 100 });
}
