/** The agent's side of an in-memory connection, played by a test with the real frames and codec. */
import assert from 'node:assert/strict';
import { Duplex } from 'node:stream';
import {
  decodeIncoming,
  encodeNotice,
  encodeReply,
  FrameReader,
  isRequest,
  limits,
  type Method,
  type Notice,
  type Reply,
  type Request,
} from '@keyagent/protocol';

/** How long a test waits for a message before it fails. */
const patienceMs = 5000;

export class Peer {
  /** The other end: what a Caller gets. */
  readonly stream: Duplex;
  /** Bytes of each write of the caller, as the kernel would see them. */
  readonly writes: number[] = [];
  readonly #reader = new FrameReader(limits.frame);
  readonly #arrived: (Request | Notice)[] = [];
  #wake: (() => void) | undefined;

  constructor() {
    this.stream = new Duplex({
      read: () => undefined,
      write: (chunk: Buffer, _encoding, done) => this.#receive([chunk], done),
      writev: (chunks, done) =>
        this.#receive(
          chunks.map(({ chunk }) => chunk as Buffer),
          done,
        ),
    });
  }

  get unread(): number {
    return this.#arrived.length;
  }

  async next(): Promise<Request | Notice> {
    const deadline = AbortSignal.timeout(patienceMs);
    for (;;) {
      const message = this.#arrived.shift();
      if (message !== undefined) return message;
      await new Promise<void>((resolve, reject) => {
        this.#wake = resolve;
        deadline.addEventListener('abort', () => reject(new Error('no message came')), { once: true });
      });
    }
  }

  async nextRequest(): Promise<Request> {
    const message = await this.next();
    assert(isRequest(message), `a ${message.method} notification came`);
    return message;
  }

  reply(method: Method | undefined, reply: Reply): void {
    this.sendBytes(encodeReply(method, reply));
  }

  notify(notice: Notice): void {
    this.sendBytes(encodeNotice(notice));
  }

  sendBytes(bytes: Buffer): void {
    this.stream.push(bytes);
  }

  hangUp(): void {
    this.stream.push(null);
  }

  #receive(chunks: readonly Buffer[], done: () => void): void {
    this.writes.push(chunks.length);
    // A copy, as a kernel makes one.
    for (const body of this.#reader.push(Buffer.concat(chunks))) {
      this.#arrived.push(decodeIncoming(body, this.#face(body)));
    }
    done();
    this.#wake?.();
  }

  /** Tests use methods of both sockets. */
  #face(body: Buffer): 'client' | 'control' {
    return body.includes('unlock') ? 'control' : 'client';
  }
}
