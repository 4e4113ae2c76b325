/**
 * The sessions of one token. One session does one operation at a time; callers beyond the limit wait in line.
 * A session that saw an error is discarded, never returned: an operation may still be active in it. The last
 * session is replaced before it is closed, because a login ends with the last session (PKCS#11 v2.40 5.6).
 */
import pkcs11js from 'pkcs11js';
import { AgentError } from '@keyagent/protocol';
import { rvOf, translate } from './ckr.js';

export interface SessionCalls {
  open(): Buffer;
  close(handle: Buffer): void;
}

export interface Session {
  readonly handle: Buffer;
  /** Counts `renew` and `drop`: a session of an older generation is not used again. */
  readonly generation: number;
  /** Set by whoever saw an error in it and goes on all the same: it is not used again. */
  suspect: boolean;
}

interface Waiter {
  resolve(session: Session): void;
  reject(error: AgentError): void;
}

/** The agent bounds its queue; this bound only catches a defect there. */
const waitersMax = 1024;

export class SessionPool {
  readonly #calls: SessionCalls;
  readonly #configuredLimit: number;
  readonly #open = new Set<Session>();
  readonly #idle: Session[] = [];
  #waiters: Waiter[] = [];
  #limit: number;
  #generation = 0;
  #refusal: AgentError | undefined;
  #drained: (() => void)[] = [];

  constructor(calls: SessionCalls, limit: number) {
    this.#calls = calls;
    this.#configuredLimit = limit;
    this.#limit = limit;
  }

  get generation(): number {
    return this.#generation;
  }

  /** Sessions in use. */
  get busy(): number {
    return this.#open.size - this.#idle.length;
  }

  /** What the token was found to allow, at most the configured limit. */
  get limit(): number {
    return this.#limit;
  }

  /** undefined: all are in use. */
  takeFree(): Session | undefined {
    if (this.#refusal !== undefined) throw this.#refusal;
    return this.#idle.pop() ?? this.#tryOpen();
  }

  async take(): Promise<Session> {
    const session = this.takeFree();
    if (session !== undefined) return session;
    if (this.#waiters.length >= waitersMax) {
      throw new AgentError('BUSY', 'too many operations wait for a session');
    }
    return new Promise((resolve, reject) => this.#waiters.push({ resolve, reject }));
  }

  return(session: Session): void {
    if (session.suspect) {
      this.discard(session);
      return;
    }
    if (this.#isCurrent(session)) {
      const waiter = this.#waiters.shift();
      if (waiter === undefined) this.#idle.push(session);
      else waiter.resolve(session);
    } else {
      this.#close(session);
      this.#serveWaiters();
    }
    this.#notifyDrained();
  }

  /** After any error in it. */
  discard(session: Session): void {
    const isLast = this.#open.size === 1 && this.#open.has(session);
    this.#open.delete(session);
    if (isLast && this.#refusal === undefined) this.#openAhead();
    this.#close(session);
    this.#serveWaiters();
    this.#notifyDrained();
  }

  /** Sessions are no longer trusted. One is opened before the old ones are closed: a login that lives on stays. */
  renew(): void {
    const old = this.#forget();
    this.#openAhead();
    for (const session of old) this.#close(session);
    this.#serveWaiters();
  }

  /** Nobody is logged in any more, and no session shall be. Those in use are closed when they come back. */
  drop(): void {
    for (const session of this.#forget()) this.#close(session);
    this.#serveWaiters();
  }

  /** Refuses whoever waits or comes with `refusal`, until `reopen`; settles when no session is in use. */
  async drain(refusal: AgentError): Promise<void> {
    this.#refusal = refusal;
    for (const waiter of this.#waiters.splice(0)) waiter.reject(refusal);
    if (this.busy > 0) await new Promise<void>((resolve) => this.#drained.push(resolve));
  }

  reopen(): void {
    this.#refusal = undefined;
  }

  #isCurrent(session: Session): boolean {
    return session.generation === this.#generation && this.#open.has(session);
  }

  /** undefined: the limit is reached, and sessions in use will come back. */
  #tryOpen(): Session | undefined {
    if (this.#open.size >= this.#limit) return undefined;
    try {
      const session = { handle: this.#calls.open(), generation: this.#generation, suspect: false };
      this.#open.add(session);
      return session;
    } catch (error) {
      if (rvOf(error) !== pkcs11js.CKR_SESSION_COUNT || this.#open.size === 0) throw translate(error);
      this.#limit = this.#open.size;
      return undefined;
    }
  }

  #forget(): Session[] {
    this.#generation++;
    this.#limit = this.#configuredLimit;
    const old = this.#idle.splice(0);
    for (const session of old) this.#open.delete(session);
    return old;
  }

  #openAhead(): void {
    try {
      const session = this.#tryOpen();
      if (session !== undefined) this.#idle.push(session);
    } catch {
      // Whoever takes a session next meets the same error and reports it.
    }
  }

  #close(session: Session): void {
    this.#open.delete(session);
    // A token that lost its sessions may give an old handle to a new one.
    for (const { handle } of this.#open) if (handle.equals(session.handle)) return;
    try {
      this.#calls.close(session.handle);
    } catch {
      // Closing fails when the token already closed it: then there is nothing left to close.
    }
  }

  #serveWaiters(): void {
    while (this.#waiters.length > 0) {
      try {
        const session = this.#idle.pop() ?? this.#tryOpen();
        if (session === undefined) return;
        this.#waiters.shift()?.resolve(session);
      } catch (error) {
        this.#waiters.shift()?.reject(translate(error));
      }
    }
  }

  #notifyDrained(): void {
    if (this.busy > 0) return;
    for (const settle of this.#drained.splice(0)) settle();
  }
}
