/** A real token host, spoken to as the agent does: frames on descriptor 3, PINs on descriptor 4. */
import { spawn, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { fileURLToPath } from 'node:url';
import type { Duplex } from 'node:stream';
import { pack, unpack } from 'msgpackr';
import { FrameReader, encodeFrame } from '@keyagent/protocol';
import {
  hostFrameMax,
  type HostError,
  type HostEvents,
  type HostOperation,
  type HostParams,
  type HostResult,
} from '@keyagent/agent/host/host-protocol.js';

const main = fileURLToPath(import.meta.resolve('@keyagent/agent/host/main.js'));

export class HostCallError extends Error implements HostError {
  readonly code: HostError['code'];
  readonly ckr?: string;
  readonly candidates?: string[];

  constructor(error: HostError) {
    super(error.message);
    this.code = error.code;
    if (error.ckr !== undefined) this.ckr = error.ckr;
    if (error.candidates !== undefined) this.candidates = error.candidates;
  }
}

interface Pending {
  resolve: (result: unknown) => void;
  reject: (error: Error) => void;
}

export class HostProcess {
  readonly child: ChildProcess;
  /** Settles when the process has ended, with its exit code. */
  readonly exited: Promise<number | null>;
  readonly events: { name: string; params: unknown }[] = [];
  stderr = '';
  readonly #channel: Duplex;
  readonly #pinWay: Duplex;
  readonly #pending = new Map<number, Pending>();
  readonly #eventWaiters: (() => void)[] = [];
  #nextId = 1;

  constructor(env: NodeJS.ProcessEnv, sessions = 4) {
    const poolSize = { UV_THREADPOOL_SIZE: String(sessions + 2) };
    this.child = spawn(process.execPath, [main], {
      env: { ...process.env, ...poolSize, ...env },
      stdio: ['ignore', 'ignore', 'pipe', 'pipe', 'pipe'],
    });
    this.#channel = this.child.stdio[3] as Duplex;
    this.#pinWay = this.child.stdio[4] as Duplex;
    this.child.stderr?.on('data', (chunk: Buffer) => (this.stderr += chunk.toString()));
    this.exited = once(this.child, 'exit').then(([code]) => {
      for (const { reject } of this.#pending.values()) reject(new Error(`the host ended: ${this.stderr}`));
      return code as number | null;
    });
    const reader = new FrameReader(hostFrameMax);
    this.#channel.on('data', (chunk: Buffer) => {
      for (const body of reader.push(chunk)) this.#dispatch(unpack(body) as [number, unknown, unknown]);
    });
    this.#channel.on('error', () => undefined);
  }

  call<O extends HostOperation>(operation: O, params: HostParams<O>): Promise<HostResult<O>> {
    const id = this.#nextId++;
    this.#channel.write(encodeFrame(pack([id, operation, params])));
    return new Promise<unknown>((resolve, reject) => this.#pending.set(id, { resolve, reject })) as Promise<
      HostResult<O>
    >;
  }

  /** The PIN first, then the request, as HostOperations says. */
  login(pin: string | Uint8Array): Promise<HostResult<'login'>> {
    const bytes = Buffer.from(pin);
    this.#pinWay.write(Buffer.concat([Buffer.of(bytes.length >> 8, bytes.length & 0xff), bytes]));
    return this.call('login', { pin: true });
  }

  /** The next event of this name that has not been waited for. */
  async event<E extends keyof HostEvents>(name: E): Promise<HostEvents[E]> {
    for (;;) {
      const at = this.events.findIndex((event) => event.name === name);
      if (at >= 0) return this.events.splice(at, 1)[0]?.params as HostEvents[E];
      await new Promise<void>((resolve) => this.#eventWaiters.push(resolve));
    }
  }

  /** Ends it as the agent does: by closing descriptor 3. */
  async close(): Promise<number | null> {
    this.#channel.destroy();
    return this.exited;
  }

  #dispatch([id, second, third]: [number, unknown, unknown]): void {
    if (id === 0) {
      this.events.push({ name: String(second), params: third });
      for (const wake of this.#eventWaiters.splice(0)) wake();
      return;
    }
    const pending = this.#pending.get(id);
    this.#pending.delete(id);
    if (second === null) pending?.resolve(third);
    else pending?.reject(new HostCallError(second as HostError));
  }
}
