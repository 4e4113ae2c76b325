/**
 * One connection that is made again when it was lost. Input: calls. Output: results; a call is repeated at most
 * once, within its time, and only after the connection was lost before the answer (PROTOCOL.md section 6).
 */
import { EventEmitter } from 'node:events';
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
}

interface Link {
  readonly caller: Caller;
  /** The agent judges a connection by who made it: another euid needs another connection. */
  readonly euid: number | undefined;
}

/** How long an agent that restarts may be away before a call fails, and the first pause between attempts, which doubles. */
const absenceMs = 1000;
const firstPauseMs = 10;

export class Connection extends EventEmitter<ConnectionEvents> {
  readonly #settings: ConnectionSettings;
  #link: Link | undefined;
  #dialling: Promise<Caller> | undefined;
  #closed = false;

  constructor(settings: ConnectionSettings) {
    super();
    this.#settings = settings;
  }

  /** Connects at once, so that a missing agent is noticed here. */
  async open(): Promise<void> {
    await this.#dial(0);
  }

  close(): void {
    this.#closed = true;
    this.#link?.caller.close();
  }

  /** @throws AgentError of the agent, and those of connecting */
  async call<M extends Method>(method: M, params: Params<M>, options: CallOptions = {}): Promise<Result<M>> {
    const { timeoutMs = this.#settings.timeoutMs, signal } = options;
    const deadline = performance.now() + timeoutMs;
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
    this.#dialling ??= this.#dial(absenceMs).finally(() => {
      this.#dialling = undefined;
    });
    return waitFor(this.#dialling, deadline, signal);
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
        await new Promise((resolve) => setTimeout(resolve, pauseMs));
      }
    }
  }

  #adopt(caller: Caller): Caller {
    this.#link = { caller, euid: process.geteuid?.() };
    caller.on('notice', (notice) => this.emit('notice', notice));
    caller.on('close', (reason) => {
      if (reason !== undefined) this.emit('lost', reason);
    });
    if (this.#closed) caller.close();
    return caller;
  }
}

function isUnavailable(error: unknown): boolean {
  return error instanceof AgentError && error.code === 'UNAVAILABLE';
}

function remaining(deadline: number, signal: AbortSignal | undefined): CallOptions {
  const timeoutMs = Math.max(1, deadline - performance.now());
  return signal === undefined ? { timeoutMs } : { timeoutMs, signal };
}

function markedRepeat<M extends Method>(method: M, params: Params<M>): Params<M> {
  return 'repeat' in methods[method].params ? { ...params, repeat: true } : params;
}

/** The work itself goes on, for others that wait for it. */
function waitFor<T>(work: Promise<T>, deadline: number, signal: AbortSignal | undefined): Promise<T> {
  return new Promise((resolve, reject) => {
    const timeoutMs = Math.max(1, deadline - performance.now());
    const late = new AgentError('TIMEOUT', `no connection to the agent in ${Math.ceil(timeoutMs)} ms`);
    const timer = setTimeout(() => reject(late), timeoutMs);
    const onAbort = (): void => reject(new AgentError('CANCELLED', 'cancelled', { cause: signal?.reason }));
    signal?.addEventListener('abort', onAbort, { once: true });
    if (signal?.aborted === true) onAbort();
    void work.then(resolve, reject).finally(() => {
      clearTimeout(timer);
      signal?.removeEventListener('abort', onAbort);
    });
  });
}
