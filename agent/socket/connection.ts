/**
 * One connection: bytes -> requests -> dispatch -> replies. Knows frames, order and back-pressure; decides nothing.
 * A malformed frame gets one error reply and ends this connection, never the agent.
 */
import type { Socket } from 'node:net';
import {
  AgentError,
  CodecError,
  FrameReader,
  decodeIncoming,
  encodeNotice,
  encodeReply,
  limits,
  protocolVersion,
  toWireError,
  type Method,
  type Notice,
  type Request,
  type Result,
  type WireError,
} from '@keyagent/protocol';
import { Cancellation } from '../cancellation.js';
import { Outgoing } from '../outgoing.js';
import type { Peer } from '../policy/peer.js';

export type Face = 'client' | 'control';

/** Answers one request; rejects with an AgentError. `cancellation` tells of a cancel and of a disconnect. */
export type Dispatch = (request: Request, peer: Peer, cancellation: Cancellation) => Promise<Result<Method>>;

export interface ConnectionSettings {
  readonly face: Face;
  readonly dispatch: Dispatch;
  /** Sent in the reply to hello. */
  readonly agent: string;
  /** How long a connection may take for its hello, and a peer to read what was written, milliseconds. */
  readonly stallMs: number;
  /** Told once per defect of the agent itself. */
  readonly onDefect: (error: unknown) => void;
}

/** Replies that wait for a slow reader, in bytes; beyond it nothing more is read from that peer. */
const writeHighWater = 128 * 1024;

export class Connection {
  readonly peer: Peer;
  requests = 0;
  private readonly inFlight = new Map<number, Cancellation>();
  private readonly reader = new FrameReader(limits.frame);
  private readonly waiting: Buffer[] = [];
  private greeted = false;
  private notify = false;
  private ended = false;
  private readonly outgoing: Outgoing;
  private stall: NodeJS.Timeout | undefined;

  constructor(
    private readonly socket: Socket,
    peer: Peer,
    private readonly settings: ConnectionSettings,
  ) {
    this.peer = peer;
    this.outgoing = new Outgoing(socket);
    this.armStall();
    socket.on('data', (chunk: Buffer) => {
      this.receive(chunk);
    });
    socket.on('drain', () => {
      this.drained();
    });
    // A reset peer is an ended peer; 'close' follows and does the work.
    socket.on('error', () => undefined);
    socket.on('close', () => {
      this.release();
    });
  }

  get inFlightCount(): number {
    return this.inFlight.size;
  }

  /** Tells a peer that asked for it; a peer that does not read is not told. */
  tell(notice: Notice): void {
    if (this.notify && !this.ended && !this.socket.writableNeedDrain) this.write(encodeNotice(notice));
  }

  /** Ends after what is written has left. */
  end(): void {
    if (this.ended) return;
    this.ended = true;
    this.flush();
    this.socket.end();
    this.armStall();
  }

  private receive(chunk: Buffer): void {
    if (this.ended) return;
    try {
      this.waiting.push(...this.reader.push(chunk));
    } catch (error) {
      this.fail(0, error);
      return;
    }
    this.work();
  }

  private work(): void {
    while (!this.ended && this.waiting.length > 0 && this.hasRoom()) {
      this.accept(this.waiting.shift() as Buffer);
    }
    if (this.waiting.length > 0) this.socket.pause();
    else if (this.socket.isPaused()) this.socket.resume();
  }

  private hasRoom(): boolean {
    return this.inFlight.size < limits.inFlight && this.outgoing.length < writeHighWater;
  }

  private accept(body: Buffer): void {
    let incoming: Request | Notice;
    try {
      incoming = decodeIncoming(body, this.settings.face);
    } catch (error) {
      const id = error instanceof CodecError ? error.id : 0;
      if (error instanceof CodecError && !error.fatal && this.greeted) this.reject(id, error);
      else this.fail(id, error);
      return;
    }
    if (!('id' in incoming)) {
      if (incoming.method === 'cancel') this.cancel(incoming.params.id);
      else this.fail(0, new AgentError('MALFORMED', `a client cannot send "${incoming.method}"`));
      return;
    }
    if (incoming.method === 'hello') this.hello(incoming.id, incoming.params);
    else if (!this.greeted)
      this.fail(incoming.id, new AgentError('MALFORMED', 'the first request must be hello'));
    else if (this.inFlight.has(incoming.id)) {
      this.fail(incoming.id, new AgentError('MALFORMED', `id ${String(incoming.id)} is already in flight`));
    } else void this.run(incoming);
  }

  private hello(id: number, params: { min: number; max: number; notify?: boolean }): void {
    if (this.greeted) {
      this.fail(id, new AgentError('MALFORMED', 'hello was already said'));
      return;
    }
    if (params.min > protocolVersion.max || params.max < protocolVersion.min || params.min > params.max) {
      const ours = `${String(protocolVersion.min)} to ${String(protocolVersion.max)}`;
      this.fail(id, new AgentError('UNSUPPORTED', `this agent speaks protocol versions ${ours}`));
      return;
    }
    this.greeted = true;
    this.notify = params.notify ?? false;
    this.disarmStall();
    const result = {
      version: Math.min(params.max, protocolVersion.max),
      agent: this.settings.agent,
      max_frame: limits.frame,
      max_message: limits.message,
      max_in_flight: limits.inFlight,
    };
    this.write(encodeReply('hello', { id, result }));
  }

  private async run(request: Request): Promise<void> {
    const { id, method } = request;
    const cancellation = new Cancellation();
    this.inFlight.set(id, cancellation);
    this.requests++;
    try {
      const result = await this.settings.dispatch(request, this.peer, cancellation);
      this.inFlight.delete(id);
      this.write(encodeReply(method, { id, result }));
    } catch (error) {
      this.inFlight.delete(id);
      this.reject(id, error);
    }
    if (this.waiting.length > 0) this.work();
  }

  private cancel(id: number): void {
    this.inFlight.get(id)?.cancel(new AgentError('CANCELLED', 'the request was cancelled'));
  }

  private reject(id: number, error: unknown): void {
    this.write(encodeReply('hello', { id, error: this.wireError(error) }));
  }

  private fail(id: number, error: unknown): void {
    this.reject(id, error);
    this.end();
  }

  private wireError(error: unknown): WireError {
    if (!(error instanceof AgentError)) {
      this.settings.onDefect(error);
      return toWireError(new AgentError('INTERNAL', 'a defect in the agent; its log says more'));
    }
    return toWireError(error);
  }

  /** All replies of one turn of the event loop leave in one write. */
  private write(frame: Buffer): void {
    if (this.outgoing.add(frame))
      process.nextTick(() => {
        this.flush();
      });
  }

  private flush(): void {
    this.outgoing.flush();
    if (this.socket.writableNeedDrain && this.stall === undefined) this.armStall();
  }

  private drained(): void {
    if (this.greeted && !this.ended) this.disarmStall();
    this.work();
  }

  private armStall(): void {
    this.disarmStall();
    this.stall = setTimeout(() => {
      this.socket.destroy();
    }, this.settings.stallMs).unref();
  }

  private disarmStall(): void {
    clearTimeout(this.stall);
    this.stall = undefined;
  }

  private release(): void {
    this.ended = true;
    this.disarmStall();
    this.waiting.length = 0;
    const gone = new AgentError('CANCELLED', 'the requester disconnected');
    for (const cancellation of this.inFlight.values()) cancellation.cancel(gone);
  }
}
