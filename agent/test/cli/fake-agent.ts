/** An agent made of answers: real sockets, frames and codec; behind them whatever the test says. */
import { once } from 'node:events';
import { mkdtempSync, rmSync } from 'node:fs';
import { createServer, type Server, type Socket } from 'node:net';
import { tmpdir } from 'node:os';
import path from 'node:path';
import {
  AgentError,
  decodeIncoming,
  encodeReply,
  errorTable,
  FrameReader,
  isRequest,
  limits,
  type Method,
  type Params,
  type Request,
  type Result,
  type WireError,
} from '@keyagent/protocol';

export type Answers = { [M in Method]?: (params: Params<M>) => Result<M> };

const hello: Result<'hello'> = {
  version: 1,
  agent: 'keyagent 0.1.0',
  max_frame: limits.frame,
  max_message: limits.message,
  max_in_flight: limits.inFlight,
};

export class FakeAgent {
  readonly directory = mkdtempSync(path.join(tmpdir(), 'keyagent-cli-'));
  readonly client = path.join(this.directory, 'agent.sock');
  readonly control = path.join(this.directory, 'control.sock');
  /** Everything that was asked, hello and prompt left out; a PIN as text. */
  readonly asked: [face: 'client' | 'control', method: Method, params: Record<string, unknown>][] = [];
  answers: Answers = {};
  /** It answers a stop, and does not end. */
  isStuck = false;
  readonly #servers: Server[] = [];
  readonly #open = new Set<Socket>();

  async start(): Promise<void> {
    await this.#listen('client', this.client);
    await this.#listen('control', this.control);
  }

  async stop(): Promise<void> {
    for (const socket of this.#open) socket.destroy();
    for (const server of this.#servers) {
      server.close();
      await once(server, 'close');
    }
    rmSync(this.directory, { recursive: true });
  }

  async #listen(face: 'client' | 'control', socketPath: string): Promise<void> {
    const server = createServer((socket) => {
      this.#open.add(socket);
      const frames = new FrameReader(limits.frame);
      socket.on('error', () => undefined);
      socket.on('close', () => this.#open.delete(socket));
      socket.on('data', (chunk: Buffer) => {
        for (const body of frames.push(chunk)) {
          const request = decodeIncoming(body, face);
          // That an operator is being asked: answered when the token is unlocked, which no test here waits for.
          if (isRequest(request) && request.method !== 'prompt') socket.write(this.#answer(face, request));
          if (request.method === 'stop' && !this.isStuck) socket.end();
        }
      });
    });
    this.#servers.push(server);
    server.listen(socketPath);
    await once(server, 'listening');
  }

  #answer(face: 'client' | 'control', { id, method, params }: Request): Buffer {
    if (method === 'hello') return encodeReply(method, { id, result: hello });
    this.asked.push([
      face,
      method,
      { ...params, ...('pin' in params && { pin: String(Buffer.from(params.pin)) }) },
    ]);
    const answer = this.answers[method] as ((params: unknown) => Result<Method>) | undefined;
    try {
      if (answer === undefined) throw new AgentError('UNSUPPORTED', `the test gave no answer to ${method}`);
      return encodeReply(method, { id, result: answer(params) });
    } catch (error) {
      if (!(error instanceof AgentError)) throw error;
      return encodeReply(method, { id, error: wireError(error) });
    }
  }
}

function wireError({ code, message, candidates, retryAfterMs }: AgentError): WireError {
  return {
    code: errorTable[code].number,
    message,
    ...(candidates && { candidates }),
    ...(retryAfterMs !== undefined && { retry_after_ms: retryAfterMs }),
  };
}
