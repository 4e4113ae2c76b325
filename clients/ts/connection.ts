/**
 * One connection that is made again when it was lost. Input: calls. Output: results; a call is repeated at most
 * once, within its time, and only after the connection was lost before the answer (PROTOCOL.md section 6).
 */
import { EventEmitter, setMaxListeners } from 'node:events';
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
  #dialling: Promise<void> | undefined;
  #redial: NodeJS.Timeout | undefined;
  #holdsProcess = true;
  /** Ends what is under way when the client is closed. */
  readonly #closing = new AbortController();

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
    this.#closing.abort();
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
    // One signal for many calls is no leak: each call takes its listener away again.
    if (signal instanceof EventTarget) setMaxListeners(0, signal);
    const first = this.#live() ?? (await this.#connected(deadline, signal));
    try {
      return await first.call(method, params, remaining(deadline, signal));
    } catch (error) {
      if (this.#isClosed() || !isUnavailable(error)) throw error;
      const second = await this.#connected(deadline, signal);
      return await second.call(method, markedRepeat(method, params), remaining(deadline, signal));
    }
  }

  #isClosed(): boolean {
    return this.#closing.signal.aborted;
  }

  #live(): Caller | undefined {
    if (this.#isClosed()) throw closed();
    if (this.#link === undefined || this.#link.caller.closed) return undefined;
    if (this.#link.euid === process.geteuid?.()) return this.#link.caller;
    this.#link.caller.close();
    return undefined;
  }

  /** All who wait for a connection share it, unless the user changed meanwhile; each waits no longer than it will. */
  async #connected(deadline: number, signal: AbortSignal | undefined): Promise<Caller> {
    for (;;) {
      const live = this.#live();
      if (live !== undefined) return live;
      await waitFor(this.#sharedDial(), deadline, signal);
    }
  }

  #sharedDial(): Promise<void> {
    this.#dialling ??= this.#dial(absenceMs).finally(() => {
      this.#dialling = undefined;
    });
    return this.#dialling;
  }

  /** @param patienceMs how long to go on while no agent listens */
  async #dial(patienceMs: number): Promise<void> {
    const { path, ...about } = this.#settings;
    const { signal } = this.#closing;
    const giveUpAt = performance.now() + patienceMs;
    for (let pauseMs = firstPauseMs; !this.#isClosed(); pauseMs *= 2) {
      const euid = process.geteuid?.();
      try {
        const caller = await connectCaller(path, { ...about, notify: true, signal });
        this.#adopt({ caller, euid });
        return;
      } catch (error) {
        if (this.#isClosed()) break;
        if (!isUnavailable(error) || performance.now() + pauseMs > giveUpAt) throw error;
        // Calls that wait hold the process by their own timers. An early end is seen at once, above.
        await delay(pauseMs, undefined, { ref: this.#holdsProcess, signal }).catch(() => undefined);
      }
    }
    throw closed();
  }

  #adopt(link: Link): void {
    const { caller } = link;
    const isFirst = this.#link === undefined;
    clearTimeout(this.#redial);
    this.#link = link;
    caller.on('notice', (notice) => this.emit('notice', notice));
    caller.on('close', (reason) => {
      if (reason === undefined) return;
      this.#redialAfter(0);
      this.emit('lost', reason);
    });
    if (!this.#holdsProcess) caller.unref();
    if (this.#isClosed()) caller.close();
    else if (!isFirst) this.emit('restored');
  }

  /** Calls connect by themselves; this is for a program that waits for events. */
  #redialAfter(pauseMs: number): void {
    this.#redial = setTimeout(() => {
      this.#sharedDial().catch(() => {
        // Whoever needs the connection hears why there is none from its own call.
        if (!this.#isClosed()) this.#redialAfter(idlePauseMs);
      });
    }, pauseMs);
    if (!this.#holdsProcess) this.#redial.unref();
  }
}

function closed(): AgentError {
  return new AgentError('UNAVAILABLE', 'this client was closed; connect again');
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
