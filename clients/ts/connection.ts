/**
 * One connection that is made again when it was lost. Input: calls. Output: results; a call is repeated at most
 * once, within its time, and only after the connection was lost before the answer (PROTOCOL.md section 6).
 */
import { EventEmitter } from 'node:events';
import { setTimeout as delay } from 'node:timers/promises';
import {
  AgentError,
  connectCaller,
  methods,
  type Caller,
  type CallOptions,
  type Method,
  type Notice,
  type Params,
  type Result,
} from '@keyagent/protocol';
import { waitFor } from './wait-for.js';

export interface ConnectionSettings {
  readonly path: string;
  readonly name: string;
  /** For connecting, and for each call unless it says otherwise. */
  readonly timeoutMs: number;
  readonly trustedUids: readonly number[];
}

interface ConnectionEvents {
  notice: [Notice];
  lost: [AgentError];
  /** There is a connection again: notifications may have been missed. */
  restored: [];
}

interface Link {
  readonly caller: Caller;
  /** The agent judges a connection by who made it: another euid needs another connection. */
  readonly euid: number | undefined;
}

/** How long an agent that restarts may be away before calls fail, and the first pause between attempts, which doubles. */
const absenceMs = 1000;
const firstPauseMs = 10;
/** Pause between such series of attempts while no call waits. */
const idlePauseMs = 2000;
/** setTimeout fires at once beyond this. */
const longestTimeoutMs = 0x7fffffff;

export class Connection extends EventEmitter<ConnectionEvents> {
  readonly #settings: ConnectionSettings;
  #link: Link | undefined;
  #dialling: Promise<Caller> | undefined;
  #redial: NodeJS.Timeout | undefined;
  #holdsProcess = true;
  #closed = false;

  constructor(settings: ConnectionSettings) {
    super();
    this.#settings = settings;
  }

  /** Connects at once, so that a missing agent is noticed here. */
  async open(signal: AbortSignal | undefined): Promise<void> {
    const deadline = performance.now() + checkedTimeout(this.#settings.timeoutMs);
    try {
      await waitFor(this.#dial(0), deadline, signal);
    } catch (error) {
      this.close();
      throw error;
    }
  }

  close(): void {
    this.#closed = true;
    clearTimeout(this.#redial);
    this.#link?.caller.close();
  }

  /** Whether the process stays alive for a connection that no call uses. */
  hold(holdsProcess: boolean): void {
    this.#holdsProcess = holdsProcess;
    for (const held of [this.#link?.caller, this.#redial]) {
      if (holdsProcess) held?.ref();
      else held?.unref();
    }
  }

  /** @throws AgentError of the agent, and those of connecting */
  async call<M extends Method>(method: M, params: Params<M>, options: CallOptions = {}): Promise<Result<M>> {
    const { timeoutMs = this.#settings.timeoutMs, signal } = options;
    const deadline = performance.now() + checkedTimeout(timeoutMs);
    const first = this.#live() ?? (await this.#dialled(deadline, signal));
    try {
      return await first.call(method, params, remaining(deadline, signal));
    } catch (error) {
      if (this.#closed || !isUnavailable(error)) throw error;
      const second = this.#live() ?? (await this.#dialled(deadline, signal));
      return await second.call(method, markedRepeat(method, params), remaining(deadline, signal));
    }
  }

  #live(): Caller | undefined {
    if (this.#closed) throw new AgentError('UNAVAILABLE', 'this client was closed; connect again');
    if (this.#link === undefined || this.#link.caller.closed) return undefined;
    if (this.#link.euid === process.geteuid?.()) return this.#link.caller;
    this.#link.caller.close();
    return undefined;
  }

  /** A connection that all who wait for one share; each waits no longer than it will. */
  #dialled(deadline: number, signal: AbortSignal | undefined): Promise<Caller> {
    return waitFor(this.#sharedDial(), deadline, signal);
  }

  #sharedDial(): Promise<Caller> {
    this.#dialling ??= this.#dial(absenceMs).finally(() => {
      this.#dialling = undefined;
    });
    return this.#dialling;
  }

  /** @param patienceMs how long to go on while no agent listens */
  async #dial(patienceMs: number): Promise<Caller> {
    const { path, name, trustedUids, timeoutMs } = this.#settings;
    const giveUpAt = performance.now() + patienceMs;
    for (let pauseMs = firstPauseMs; ; pauseMs *= 2) {
      try {
        return this.#adopt(await connectCaller(path, { name, notify: true, timeoutMs, trustedUids }));
      } catch (error) {
        if (this.#closed || !isUnavailable(error) || performance.now() + pauseMs > giveUpAt) throw error;
        // Calls that wait hold the process by their own timers.
        await delay(pauseMs, undefined, { ref: this.#holdsProcess });
      }
    }
  }

  #adopt(caller: Caller): Caller {
    const isFirst = this.#link === undefined;
    clearTimeout(this.#redial);
    this.#link = { caller, euid: process.geteuid?.() };
    caller.on('notice', (notice) => this.emit('notice', notice));
    caller.on('close', (reason) => {
      if (reason === undefined) return;
      this.#redialAfter(0);
      this.emit('lost', reason);
    });
    if (!this.#holdsProcess) caller.unref();
    if (this.#closed) caller.close();
    else if (!isFirst) this.emit('restored');
    return caller;
  }

  /** Calls connect by themselves; this is for a program that waits for events. */
  #redialAfter(pauseMs: number): void {
    this.#redial = setTimeout(() => {
      this.#sharedDial().catch(() => {
        // Whoever needs the connection hears why there is none from its own call.
        if (!this.#closed) this.#redialAfter(idlePauseMs);
      });
    }, pauseMs);
    if (!this.#holdsProcess) this.#redial.unref();
  }
}

function isUnavailable(error: unknown): boolean {
  return error instanceof AgentError && error.code === 'UNAVAILABLE';
}

/** Infinity is as long as a timer can be; the agent's own limit is the shorter one then. */
function checkedTimeout(timeoutMs: number): number {
  if (timeoutMs > 0) return Math.min(timeoutMs, longestTimeoutMs);
  throw new AgentError('INVALID', `timeoutMs is ${timeoutMs}; give a number over 0`);
}

function remaining(deadline: number, signal: AbortSignal | undefined): CallOptions {
  const timeoutMs = Math.max(1, deadline - performance.now());
  return signal === undefined ? { timeoutMs } : { timeoutMs, signal };
}

function markedRepeat<M extends Method>(method: M, params: Params<M>): Params<M> {
  return 'repeat' in methods[method].params ? { ...params, repeat: true } : params;
}
