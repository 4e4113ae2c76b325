/**
 * One token host seen from the agent: spawns it, sends operations, matches replies, and kills it when it hangs.
 * A host that ended rejects what was in flight with HostLost; the token decides what runs again.
 */
import { spawn, type ChildProcess } from 'node:child_process';
import { EventEmitter } from 'node:events';
import type { Duplex } from 'node:stream';
import type { Socket } from 'node:net';
import { fileURLToPath } from 'node:url';
import { Packr } from 'msgpackr';
import { AgentError, FrameReader, encodeFrame } from '@keyagent/protocol';
import {
  hostFrameMax,
  type HostError,
  type HostOperation,
  type HostParams,
  type HostResult,
} from '../host/host-protocol.js';
import { native } from '../native/index.js';
import { Outgoing } from '../outgoing.js';
import { parseHostMessage, type HostEvent, type HostReply } from './host-message.js';

/** The host ended while the request was in flight: nobody knows whether the token did it. */
export class HostLost extends AgentError {
  constructor(how?: HostEnd) {
    const what = how === 'deadline' ? 'did not answer in time and was killed' : 'ended';
    super('TOKEN_ERROR', `the token host ${what}; try again`);
  }
}

/** How it ended: by itself, by a signal, killed because it hung or broke the host protocol. */
export type HostEnd = `exit status ${number}` | `signal ${string}` | 'deadline' | 'protocol';

/** What the token said, with the PKCS#11 name of the cause for log and audit. */
export class TokenFault extends AgentError {
  readonly ckr: string | undefined;
  /** In the C_Login for one use of a key. */
  readonly atLogin: boolean;

  constructor(error: HostError) {
    super(error.code, error.message);
    this.ckr = error.ckr;
    this.atLogin = error.atLogin ?? false;
  }
}

/** As they hold when an operation begins. */
export interface HostLimits {
  /** An operation that takes longer means that the module hangs: the host is killed. Milliseconds. */
  readonly operationMs: number;
  /** The same for a login: an operator may be at a PIN pad. */
  readonly loginMs: number;
}

export interface HostSettings {
  readonly token: string;
  readonly sessions: number;
  readonly env: Readonly<Record<string, string>>;
  readonly limits: HostLimits;
}

interface Pending {
  readonly operation: HostOperation;
  readonly resolve: (result: unknown) => void;
  readonly reject: (error: AgentError) => void;
  /** As performance.now() counts: who sets the clock during a login must not have it taken for hung. */
  readonly killAt: number;
}

const hostMain = fileURLToPath(new URL('../host/main.js', import.meta.url));
const packr = new Packr({ useRecords: false });
/** Of the agent's own environment, what a module has no business with. */
const withheld =
  /^(NODE_|LISTEN_|NOTIFY_|CREDENTIALS_DIRECTORY$|KEYAGENT_SOCK$|KEYAGENT_CONTROL_SOCK$|KEYAGENT_CONFIG$)/;
const hangCheckMs = 250;
/** How long a host that exited may still be read. */
const lastWordsMs = 100;

/**
 * 'exit' once; 'presence' when the token leaves or returns; 'locked' when it did not sign or decrypt because nobody is
 * logged in, before whoever asked is told; 'idle' when nothing is in flight any more; 'authenticated' when the token took
 * the PIN of a sign or decrypt.
 */
interface HostProcessEvents {
  exit: [HostEnd];
  presence: [boolean];
  locked: [];
  idle: [];
  authenticated: [];
}

export class HostProcess extends EventEmitter<HostProcessEvents> {
  readonly pid: number | undefined;
  alive = true;
  private readonly child: ChildProcess;
  private readonly channel: Duplex;
  private readonly pinFd: number;
  private readonly reader = new FrameReader(hostFrameMax);
  private readonly pending = new Map<number, Pending>();
  /** Runs while something is in flight: an agent at rest is not woken. */
  private hangCheck: NodeJS.Timeout | undefined;
  private nextId = 1;
  private readonly outgoing: Outgoing;
  private killedFor: 'deadline' | 'protocol' | undefined;

  constructor(private readonly settings: HostSettings) {
    super();
    // With the agent's own limits of memory.
    this.child = spawn(process.execPath, [...process.execArgv, hostMain, settings.token], {
      env: hostEnvironment(settings),
      // A vendor's module may print to stdout: it goes to the log with everything else.
      stdio: ['ignore', process.stderr, 'inherit', 'pipe', 'pipe'],
    });
    const [, , , channel, pins] = this.child.stdio;
    if (this.child.pid === undefined || channel == null || pins == null) {
      // The same is emitted once more, when nobody listens yet.
      this.child.once('error', () => undefined);
      throw new AgentError(
        'TOKEN_ERROR',
        'no token host can start: descriptors, processes or memory are exhausted',
      );
    }
    this.pid = this.child.pid;
    this.channel = channel as Duplex;
    this.outgoing = new Outgoing(this.channel);
    this.pinFd = (pins as Socket & { _handle: { fd: number } })._handle.fd;
    this.child.once('error', () => {
      // It was not started after all.
      this.ended('exit status 127');
    });
    this.channel.on('data', (chunk: Buffer) => {
      this.receive(chunk);
    });
    this.channel.on('error', () => {
      this.kill();
    });
    pins.on('error', () => {
      this.kill();
    });
    this.child.once('exit', (code, signal) => {
      const how: HostEnd = signal === null ? `exit status ${code ?? 0}` : `signal ${signal}`;
      this.exited(this.killedFor ?? how);
    });
  }

  get inFlight(): number {
    return this.pending.size;
  }

  call<O extends HostOperation>(operation: O, params: HostParams<O>): Promise<HostResult<O>> {
    if (!this.alive) return Promise.reject(new HostLost());
    const id = this.nextId;
    this.nextId = id === 0xffffffff ? 1 : id + 1;
    const { loginMs, operationMs } = this.settings.limits;
    // One that waits in the host for a session has another one's time before its own.
    const waits = this.pending.size >= this.settings.sessions;
    const limitMs = operation === 'login' ? loginMs : waits ? 2 * operationMs : operationMs;
    return new Promise((resolve, reject) => {
      this.pending.set(id, {
        operation,
        resolve: resolve as (result: unknown) => void,
        reject,
        killAt: performance.now() + limitMs,
      });
      this.hangCheck ??= this.nextHangCheck();
      this.write(encodeFrame(packr.pack([id, operation, params])));
    });
  }

  /** undefined: a NULL PIN, for a protected authentication path. */
  login(pin: Uint8Array | undefined): Promise<HostResult<'login'>> {
    if (pin === undefined) return this.call('login', { pin: false });
    return this.callWithPin('login', { pin: true }, pin);
  }

  /** The PIN goes beside the frames, so that no codec copies it; the caller wipes it. */
  async callWithPin<O extends 'login' | 'sign' | 'decrypt'>(
    operation: O,
    params: HostParams<O>,
    pin: Uint8Array,
  ): Promise<HostResult<O>> {
    if (!this.alive) throw new HostLost();
    native.writeSecret(this.pinFd, pin);
    return this.call(operation, { ...params, pin: true });
  }

  kill(): void {
    if (this.alive) this.child.kill('SIGKILL');
  }

  /** Ends once what is in flight is answered; the caller asks nothing more of it. */
  killWhenIdle(): void {
    if (this.pending.size === 0) this.kill();
    else this.once('idle', () => this.kill());
  }

  private receive(chunk: Buffer): void {
    try {
      for (const body of this.reader.push(chunk)) this.settle(parseHostMessage(body));
    } catch {
      // A host that breaks its own protocol is as good as crashed, and is not heard again; `exit` tells everybody who waits.
      this.killedFor = 'protocol';
      this.kill();
      this.channel.destroy();
    }
  }

  private settle(message: HostReply | HostEvent): void {
    if ('event' in message) {
      if (message.event === 'presence') this.emit('presence', message.params.present);
      else this.emit('authenticated');
      return;
    }
    const { id, error, result } = message;
    const pending = this.pending.get(id);
    if (pending === undefined) throw new Error(`reply to unknown request ${id}`);
    this.pending.delete(id);
    if (error === null) pending.resolve(result);
    else this.fail(pending, error);
    if (this.pending.size === 0) this.emit('idle');
  }

  private fail({ operation, reject }: Pending, error: HostError): void {
    // A login that goes while its keys are read is not known to be gone: the first signature finds out, and is held.
    if (error.code === 'LOCKED' && (operation === 'sign' || operation === 'decrypt')) this.emit('locked');
    reject(new TokenFault(error));
  }

  /** Of whatever clients were read in this turn of the event loop: they leave at its end. */
  private write(frame: Buffer): void {
    if (this.outgoing.add(frame)) setImmediate(() => this.outgoing.flush());
  }

  private nextHangCheck(): NodeJS.Timeout {
    return setTimeout(() => {
      this.hangCheck = this.pending.size > 0 ? this.nextHangCheck() : undefined;
      this.killIfHung(performance.now());
    }, hangCheckMs).unref();
  }

  private killIfHung(now: number): void {
    for (const { killAt } of this.pending.values()) {
      if (killAt <= now) {
        this.killedFor = 'deadline';
        this.kill();
        return;
      }
    }
  }

  /** What it said last is still to be read; something that its module started may keep the channel open. */
  private exited(how: HostEnd): void {
    const ended = (): void => {
      this.ended(how);
    };
    if (this.channel.readableEnded || this.channel.closed) ended();
    this.channel.once('end', ended);
    // A host that left requests unread resets its end.
    this.channel.once('close', ended);
    setTimeout(ended, lastWordsMs).unref();
  }

  private ended(how: HostEnd): void {
    if (!this.alive) return;
    this.alive = false;
    clearTimeout(this.hangCheck);
    this.channel.destroy();
    this.child.stdio[4]?.destroy();
    const lost = new HostLost(how);
    for (const pending of this.pending.values()) pending.reject(lost);
    this.pending.clear();
    this.emit('exit', how);
  }
}

function hostEnvironment(settings: HostSettings): NodeJS.ProcessEnv {
  const own = Object.entries(process.env).filter(([name]) => !withheld.test(name));
  return {
    ...Object.fromEntries(own),
    ...settings.env,
    // Asynchronous PKCS#11 calls occupy libuv's threads; two remain for a login and files.
    UV_THREADPOOL_SIZE: String(settings.sessions + 2),
  };
}
