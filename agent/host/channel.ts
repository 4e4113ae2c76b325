/**
 * The socketpair to the agent: frames in, operations called, replies and events out. Replies go out in whatever
 * order they come; all that come in one turn of the event loop leave in one write, and are wiped behind it.
 * Each request has a turn of its own: of operations that run on this thread the first is answered before the next
 * begins, and the agent is at work on that answer meanwhile.
 */
import type { Duplex } from 'node:stream';
import { Packr, Unpackr } from 'msgpackr';
import { AgentError, FrameReader, encodeFrame } from '@keyagent/protocol';
import { TokenFailure, translate } from './ckr.js';
import {
  hostFrameMax,
  type HostError,
  type HostEvents,
  type HostOperation,
  type HostParams,
  type HostResult,
} from './host-protocol.js';
import { wipe } from './wipe.js';

export type Operations = {
  [O in HostOperation]: (params: HostParams<O>) => HostResult<O> | Promise<HostResult<O>>;
};

const packr = new Packr({ useRecords: false });
const unpackr = new Unpackr({ useRecords: false });

export class Channel {
  readonly #stream: Duplex;
  readonly #operations: Operations;
  #outgoing: Buffer[] = [];

  constructor(stream: Duplex, operations: Operations) {
    this.#stream = stream;
    this.#operations = operations;
    const reader = new FrameReader(hostFrameMax);
    stream.on('data', (chunk: Buffer) => {
      const [first, ...others] = reader.push(chunk);
      if (first !== undefined) this.#take(first);
      for (const body of others) setImmediate(() => this.#take(body));
    });
  }

  emit<E extends keyof HostEvents>(name: E, params: HostEvents[E]): void {
    this.#send([0, name, params]);
  }

  /** Settles when everything said so far has been written. */
  async flush(): Promise<void> {
    this.#flush();
    await new Promise<void>((resolve) => this.#stream.write(Buffer.alloc(0), () => resolve()));
  }

  #take(body: Buffer): void {
    void this.#answer(unpackr.unpack(body));
  }

  /** The other end is the agent: a request that is not of the protocol is a defect, and ends the process. */
  async #answer(request: unknown): Promise<void> {
    if (!Array.isArray(request) || request.length !== 3) {
      throw new AgentError('MALFORMED', 'not a host request');
    }
    const [id, operation, params] = request as [number, HostOperation, never];
    try {
      if (!Object.hasOwn(this.#operations, operation)) {
        throw new AgentError('UNSUPPORTED', 'no such host operation');
      }
      const result = await this.#operations[operation](params);
      this.#send([id, null, result]);
      wipeBytes(result);
    } catch (error) {
      this.#send([id, hostError(error), null]);
    }
  }

  #send(message: unknown): void {
    // After every reply that is ready now: those of operations that run on this thread are ready within this turn.
    if (this.#outgoing.length === 0) process.nextTick(() => this.#flush());
    const body = packr.pack(message);
    this.#outgoing.push(encodeFrame(body));
    wipe(body);
  }

  #flush(): void {
    if (this.#outgoing.length === 0) return;
    const [first, ...more] = this.#outgoing;
    const batch = more.length === 0 && first !== undefined ? first : Buffer.concat(this.#outgoing);
    for (const frame of this.#outgoing) if (frame !== batch) wipe(frame);
    this.#outgoing = [];
    this.#stream.write(batch, () => wipe(batch));
  }
}

/** Plaintexts: the frame holds a copy by now, and is wiped itself once it is written. */
function wipeBytes(result: object): void {
  for (const value of Object.values(result)) if (value instanceof Uint8Array) wipe(value);
}

/** A defect of ours is for the log; the peer learns that there is one. */
function hostError(error: unknown): HostError {
  const failure = translate(error);
  if (failure.code === 'INTERNAL') {
    process.stderr.write(`token host: ${describe(failure.cause ?? failure)}\n`);
  }
  const { code, message } = failure;
  return {
    code,
    message,
    ...(failure instanceof TokenFailure && { ckr: failure.ckr, atLogin: failure.atLogin }),
    ...(failure.candidates && { candidates: [...failure.candidates] }),
  };
}

function describe(error: unknown): string {
  return error instanceof Error ? (error.stack ?? error.message) : String(error);
}
