/**
 * The requester's end of a connection: many calls in flight on one stream, replies in any order.
 * Input: a connected stream and calls. Output: results, AgentErrors, and the events 'notice' (Notice) and
 * 'close' (AgentError; undefined after close()).
 */
import { EventEmitter } from 'node:events';
import type { Duplex } from 'node:stream';
import { decodeReply, encodeNotice, encodeRequest, isNotice } from './codec.js';
import { AgentError } from './errors.js';
import { FrameReader } from './frame.js';
import { limits, protocolVersion } from './limits.js';
import {
  methods,
  type Method,
  type Notice,
  type Params,
  type Reply,
  type Request,
  type Result,
} from './schema.js';
import { fromWireError } from './wire-error.js';

export interface CallOptions {
  /** How long to wait; it also travels as deadline_ms where the method has one. */
  timeoutMs?: number;
  signal?: AbortSignal;
}

/** A net.Socket, or anything else that carries bytes both ways. */
export type CallerStream = Duplex & { ref?(): unknown; unref?(): unknown };

type Outcome = AgentError | object;

interface Pending {
  readonly method: Method;
  /** undefined once the caller has given up: the reply is still to come, for nobody. */
  settle: ((outcome: Outcome) => void) | undefined;
  /** The request, until it is written. */
  frame: Buffer | undefined;
}

interface CallerEvents {
  notice: [Notice];
  close: [AgentError | undefined];
}

/** setTimeout fires at once beyond this. */
const longestTimerMs = 0x7fffffff;

export class Caller extends EventEmitter<CallerEvents> {
  readonly #stream: CallerStream;
  readonly #frames = new FrameReader(limits.frame);
  /** By request id, written or not. */
  readonly #pending = new Map<number, Pending>();
  /** Ids that wait because max_in_flight requests are unanswered. */
  readonly #queue: number[] = [];
  #maxInFlight: number = limits.inFlight;
  #inFlight = 0;
  #lastId = 0;
  #corked = false;
  #closed = false;

  constructor(stream: CallerStream) {
    super();
    this.#stream = stream;
    stream.on('data', (chunk: Buffer) => this.#receive(chunk));
    stream.on('error', (cause: Error) => this.#end(lost(cause)));
    stream.on('end', () => this.#end(lost()));
    stream.on('close', () => this.#end(lost()));
  }

  get closed(): boolean {
    return this.#closed;
  }

  /** Ends the connection; every call in flight fails with UNAVAILABLE. */
  close(): void {
    this.#end(undefined);
  }

  /** Lets the process end while the connection is idle; a call with a timeout holds it until it settles. */
  unref(): void {
    this.#stream.unref?.();
  }

  /** Undoes unref(). */
  ref(): void {
    this.#stream.ref?.();
  }

  /** The first call on every connection. @throws AgentError UNSUPPORTED if there is no common version */
  async hello(
    about: { name?: string; notify?: boolean },
    options: CallOptions = {},
  ): Promise<Result<'hello'>> {
    const result = await this.call('hello', { ...protocolVersion, ...about }, options);
    if (result.version < protocolVersion.min || result.version > protocolVersion.max) {
      throw new AgentError(
        'UNSUPPORTED',
        `the agent chose protocol version ${result.version}, which was not offered`,
      );
    }
    this.#maxInFlight = Math.max(1, Math.min(result.max_in_flight, limits.inFlight));
    return result;
  }

  /** @throws AgentError of the agent; TIMEOUT, CANCELLED; UNAVAILABLE if the connection is or gets lost */
  call<M extends Method>(method: M, params: Params<M>, options: CallOptions = {}): Promise<Result<M>> {
    return new Promise<Result<M>>((resolve, reject) => {
      if (this.#closed) throw lost();
      if (options.signal?.aborted === true) throw cancelled(options.signal);
      const id = this.#nextId();
      const request = { id, method, params: withDeadline(method, params, options.timeoutMs) } as Request;
      const frame = encodeRequest(request);
      const stopWaiting = this.#watch(id, options);
      const settle = (outcome: Outcome): void => {
        stopWaiting();
        if (outcome instanceof AgentError) reject(outcome);
        else resolve(outcome as Result<M>);
      };
      this.#pending.set(id, { method, settle, frame });
      this.#queue.push(id);
      this.#sendQueued();
    });
  }

  #nextId(): number {
    do this.#lastId = this.#lastId === 0xffffffff ? 1 : this.#lastId + 1;
    while (this.#pending.has(this.#lastId));
    return this.#lastId;
  }

  /** Gives up at the deadline or when the signal says so. Returns what ends the watch. */
  #watch(id: number, { timeoutMs, signal }: CallOptions): () => void {
    if (timeoutMs === undefined && signal === undefined) return () => undefined;
    const onAbort = (): void => this.#giveUp(id, cancelled(signal));
    const onTimeout = (): void => this.#giveUp(id, new AgentError('TIMEOUT', `no answer in ${timeoutMs} ms`));
    signal?.addEventListener('abort', onAbort, { once: true });
    const timer =
      timeoutMs === undefined ? undefined : setTimeout(onTimeout, Math.min(timeoutMs, longestTimerMs));
    return () => {
      clearTimeout(timer);
      signal?.removeEventListener('abort', onAbort);
    };
  }

  /** An entry whose request was written stays: a cancelled request is answered too. */
  #giveUp(id: number, reason: AgentError): void {
    const pending = this.#pending.get(id);
    if (pending?.settle === undefined) return;
    const { settle, frame } = pending;
    pending.settle = undefined;
    if (frame !== undefined) this.#pending.delete(id);
    else this.#write(encodeNotice({ method: 'cancel', params: { id } }));
    settle(reason);
  }

  #sendQueued(): void {
    while (this.#inFlight < this.#maxInFlight) {
      const id = this.#queue.shift();
      if (id === undefined) return;
      const pending = this.#pending.get(id);
      if (pending?.frame === undefined) continue;
      const { frame, method } = pending;
      pending.frame = undefined;
      this.#inFlight++;
      // What carries a secret is gone from memory once the kernel has it.
      this.#write(frame, 'pin' in methods[method].params ? () => frame.fill(0) : undefined);
    }
  }

  /** One system call for everything that is written in one turn of the event loop. */
  #write(frame: Buffer, written?: () => void): void {
    if (!this.#corked) {
      this.#corked = true;
      this.#stream.cork();
      process.nextTick(() => {
        this.#corked = false;
        this.#stream.uncork();
      });
    }
    this.#stream.write(frame, written);
  }

  #receive(chunk: Buffer): void {
    for (const body of this.#judged(() => this.#frames.push(chunk)) ?? []) {
      const message = this.#judged(() => decodeReply(body, (id) => this.#methodInFlight(id)));
      // Also when a listener of the message before closed.
      if (message === undefined || this.#closed) return;
      this.#accept(message);
    }
  }

  /** What the agent sent; undefined if that broke the protocol, which ends the connection. */
  #judged<T>(read: () => T): T | undefined {
    try {
      return read();
    } catch (cause) {
      if (!(cause instanceof AgentError)) throw cause;
      this.#end(new AgentError('MALFORMED', `the agent broke the protocol: ${cause.message}`, { cause }));
      return undefined;
    }
  }

  #methodInFlight(id: number): Method | undefined {
    const pending = this.#pending.get(id);
    return pending?.frame === undefined ? pending?.method : undefined;
  }

  #accept(message: Reply | Notice): void {
    if (isNotice(message)) {
      this.emit('notice', message);
      return;
    }
    if (message.id === 0 && 'error' in message) return this.#end(fromWireError(message.error));
    const settle = this.#pending.get(message.id)?.settle;
    this.#pending.delete(message.id);
    this.#inFlight--;
    this.#sendQueued();
    settle?.('error' in message ? fromWireError(message.error) : message.result);
  }

  #end(reason: AgentError | undefined): void {
    if (this.#closed) return;
    this.#closed = true;
    this.#stream.destroy();
    const pending = [...this.#pending.values()];
    this.#pending.clear();
    for (const { settle } of pending)
      settle?.(reason ?? new AgentError('UNAVAILABLE', 'the connection was closed'));
    this.emit('close', reason);
  }
}

function withDeadline(method: Method, params: object, timeoutMs: number | undefined): object {
  if (timeoutMs === undefined || 'deadline_ms' in params || !('deadline_ms' in methods[method].params))
    return params;
  return { ...params, deadline_ms: Math.ceil(timeoutMs) };
}

function lost(cause?: Error): AgentError {
  return new AgentError('UNAVAILABLE', 'the connection to the agent was lost', { cause });
}

function cancelled(signal: AbortSignal | undefined): AgentError {
  return new AgentError('CANCELLED', 'cancelled', { cause: signal?.reason });
}
