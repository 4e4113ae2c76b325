/**
 * An agent for tests: listens on a real Unix socket with the real frames and codec, and does with each request
 * what the test says. Keys are made by node:crypto.
 */
import { once } from 'node:events';
import { mkdtempSync, rmSync } from 'node:fs';
import { createServer, type Server, type Socket } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { TestContext } from 'node:test';
import {
  AgentError,
  decodeIncoming,
  encodeNotice,
  encodeReply,
  FrameReader,
  isRequest,
  limits,
  toWireError,
  type Method,
  type Notice,
  type Request,
  type Result,
} from '@keyagent/protocol';

/** Returns the result, throws the error to answer with, or 'drop': hangs up; 'silence': never answers. */
export type Answer = (request: Request) => Result<Method> | 'drop' | 'silence';

const welcome = {
  version: 1,
  agent: 'agent-peer',
  max_frame: limits.frame,
  max_message: limits.message,
  max_in_flight: limits.inFlight,
};

export class AgentPeer {
  readonly path: string;
  /** Everything that came but hello, in order. */
  readonly requests: Request[] = [];
  readonly cancelled: number[] = [];
  readonly hellos: object[] = [];
  readonly #answer: Answer;
  readonly #sockets = new Set<Socket>();
  #server: Server | undefined;

  constructor(path: string, answer: Answer) {
    this.path = path;
    this.#answer = answer;
  }

  get connections(): number {
    return this.hellos.length;
  }

  async start(): Promise<void> {
    this.#server = createServer((socket) => this.#serve(socket));
    this.#server.listen(this.path);
    await once(this.#server, 'listening');
  }

  async stop(): Promise<void> {
    if (this.#server === undefined) return;
    const closed = once(this.#server, 'close');
    this.#server.close();
    this.hangUp();
    await closed;
    this.#server = undefined;
  }

  hangUp(): void {
    for (const socket of this.#sockets) socket.destroy();
  }

  notify(notice: Notice): void {
    for (const socket of this.#sockets) socket.write(encodeNotice(notice));
  }

  #serve(socket: Socket): void {
    const reader = new FrameReader(limits.frame);
    this.#sockets.add(socket);
    socket.on('error', () => undefined);
    socket.on('close', () => this.#sockets.delete(socket));
    socket.on('data', (chunk) => {
      for (const body of reader.push(chunk)) {
        const message = decodeIncoming(body, 'client');
        if (isRequest(message)) this.#receive(socket, message);
        else if (message.method === 'cancel') this.cancelled.push(message.params.id);
      }
    });
  }

  #receive(socket: Socket, request: Request): void {
    const { id, method } = request;
    if (method === 'hello') {
      this.hellos.push(request.params);
      socket.write(encodeReply('hello', { id, result: welcome }));
      return;
    }
    this.requests.push(request);
    try {
      const result = this.#answer(request);
      if (result === 'drop') socket.destroy();
      else if (result !== 'silence') socket.write(encodeReply(method, { id, result }));
    } catch (error) {
      if (!(error instanceof AgentError)) throw error;
      socket.write(encodeReply(method, { id, error: toWireError(error) }));
    }
  }
}

/** A started peer in a folder of its own, both gone after the test. */
export async function startAgent(t: TestContext, answer: Answer): Promise<AgentPeer> {
  const folder = mkdtempSync(join(tmpdir(), 'keyagent-client-'));
  const agent = new AgentPeer(join(folder, 'agent.sock'), answer);
  await agent.start();
  t.after(async () => {
    await agent.stop();
    rmSync(folder, { recursive: true });
  });
  return agent;
}
