/**
 * One configured token: its state, its keys and its hosts. Requests enter by `perform`; logins by `login` and `lock`.
 * It knows nothing of PIN sources: it says `opened` when a host waits for a login, and somebody logs it in.
 */
import { EventEmitter } from 'node:events';
import { AgentError, type TokenState } from '@keyagent/protocol';
import type { TokenConfig } from '../config/config.js';
import type { HostKey, HostParams, HostResult, TokenInfo } from '../host/host-protocol.js';
import type { Log } from '../log.js';
import { HostLost } from './host-process.js';
import { HostSlot } from './host-slot.js';
import type { KeyCache } from './key-cache.js';
import { identityOf, serveKey, type ServedKey } from './served-key.js';

export interface TokenSettings {
  readonly operationMs: number;
  readonly loginMs: number;
  /** How long a request waits for a login or a host restart that is under way. */
  readonly holdMs: number;
}

/** What sign and decrypt take besides the key. */
type PerformParams<O extends 'sign' | 'decrypt'> = Omit<HostParams<O>, 'ref'>;

const heldMax = 256;
const inFlightMax = 4096;
const firstRetryMs = 1000;
const lastRetryMs = 30_000;

export class Token extends EventEmitter<{ state: [TokenState]; opened: [] }> {
  info: TokenInfo | undefined;
  keys: readonly ServedKey[] = [];
  /** True when `keys` lists all of the token's keys: taken while logged in, or cached from that. */
  complete = false;
  /** Why it is in this state and what to do. */
  detail = 'starting';
  logins = 0;
  private current: TokenState = 'absent';
  private readonly slots: HostSlot[];
  private retryMs = firstRetryMs;
  private retry: NodeJS.Timeout | undefined;
  private held = 0;
  private running = 0;
  private stopped = false;
  /** Requests that were in flight when a host crashed run again one at a time. */
  private suspects: Promise<unknown> = Promise.resolve();

  constructor(
    readonly config: TokenConfig,
    private readonly settings: TokenSettings,
    private readonly cache: KeyCache,
    private readonly log: Log,
  ) {
    super();
    // Every held request listens for the next state.
    this.setMaxListeners(heldMax + 16);
    this.slots = Array.from(
      { length: config.hosts },
      () =>
        new HostSlot(
          config,
          settings,
          (slot, how) => {
            this.hostEnded(slot, how);
          },
          (present) => {
            if (!present) this.tokenLeft();
          },
        ),
    );
  }

  get name(): string {
    return this.config.name;
  }

  get state(): TokenState {
    return this.current;
  }

  setState(state: TokenState, detail: string): void {
    this.detail = detail;
    if (state === this.current) return;
    this.current = state;
    this.log.info(`token is ${state}: ${detail}`, { token: this.name, state });
    this.emit('state', state);
  }

  /** Starts the hosts that do not run and reads the token's public data. Emits `opened` when a login is wanted. */
  async open(): Promise<void> {
    clearTimeout(this.retry);
    if (this.stopped) return;
    try {
      for (const slot of this.slots) if (!slot.alive) this.info = await slot.open();
      if (this.current !== 'unlocked' && this.current !== 'unlocking') {
        await this.readPublicData();
        this.setState('locked', `run "keyagent unlock ${this.name}"`);
      }
      this.retryMs = firstRetryMs;
      this.emit('opened');
    } catch (error) {
      this.openFailed(error);
    }
  }

  /** Logs in every host that is not, the first one alone: a wrong PIN costs one try. Rejects as the host does. */
  async login(pin: Uint8Array | undefined): Promise<void> {
    for (const slot of this.slots) {
      if (slot.loggedIn) continue;
      await slot.login(pin);
      this.logins++;
    }
    await this.readVerifiedKeys();
  }

  /** The token's flags as they are now. */
  async refreshInfo(): Promise<TokenInfo> {
    const slot = this.slots.find(({ alive }) => alive);
    if (slot === undefined) throw this.notReady();
    this.info = await slot.refreshInfo();
    return this.info;
  }

  get hasLoggedOutHost(): boolean {
    return this.slots.some(({ loggedIn }) => !loggedIn);
  }

  get hasLoggedInHost(): boolean {
    return this.slots.some(({ loggedIn }) => loggedIn);
  }

  async lock(detail: string): Promise<void> {
    if (this.current === 'unlocked' || this.current === 'unlocking') this.setState('locked', detail);
    else this.detail = detail;
    // A host that does not log out in time is killed by its supervision: either way the login is gone.
    const results = await Promise.allSettled(this.slots.map((slot) => slot.logout()));
    for (const [i, result] of results.entries()) if (result.status === 'rejected') this.slots[i]?.kill();
  }

  /** Reads the keys again, after objects in the token changed. */
  async rescan(): Promise<void> {
    if (this.current === 'unlocked') await this.readVerifiedKeys();
    else if (this.current === 'locked') await this.readPublicData();
  }

  stop(): void {
    this.stopped = true;
    clearTimeout(this.retry);
    for (const slot of this.slots) slot.kill();
  }

  /** Runs one operation. `repeated`: the client already repeated it once, so nobody repeats it again. */
  async perform<O extends 'sign' | 'decrypt'>(
    operation: O,
    key: ServedKey,
    params: PerformParams<O>,
    options: { signal: AbortSignal; repeated: boolean },
  ): Promise<HostResult<O>> {
    if (this.running >= inFlightMax) {
      throw new AgentError('BUSY', `token ${this.name} has too many requests waiting; try again`, {
        retryAfterMs: 100,
      });
    }
    this.running++;
    try {
      if (this.current !== 'unlocked') await this.ready(options.signal);
      return await this.onSomeHost(operation, key, params);
    } catch (error) {
      if (!this.mayRepeat(error, key) || options.repeated) throw error;
      return await this.runAlone(operation, key, params, options.signal);
    } finally {
      this.running--;
    }
  }

  private mayRepeat(error: unknown, key: ServedKey): boolean {
    if (key.alwaysAuthenticate) return false;
    // A host lost its login although nobody locked the token: the operation was not done.
    return error instanceof HostLost || (error instanceof AgentError && error.code === 'LOCKED' && this.lostLogin());
  }

  /** After the token dropped a login behind our back: asks for a new one. */
  private lostLogin(): boolean {
    if (this.current !== 'unlocked' || !this.slots.every(({ loggedIn }) => !loggedIn)) return false;
    this.setState('unlocking', 'the token dropped its login');
    this.emit('opened');
    return true;
  }

  private runAlone<O extends 'sign' | 'decrypt'>(
    operation: O,
    key: ServedKey,
    params: PerformParams<O>,
    signal: AbortSignal,
  ): Promise<HostResult<O>> {
    const run = this.suspects.then(async () => {
      if (this.current !== 'unlocked') await this.ready(signal);
      signal.throwIfAborted();
      return this.onSomeHost(operation, key, params);
    });
    this.suspects = run.catch(() => undefined);
    return run;
  }

  private onSomeHost<O extends 'sign' | 'decrypt'>(
    operation: O,
    key: ServedKey,
    params: PerformParams<O>,
  ): Promise<HostResult<O>> {
    let best: HostSlot | undefined;
    for (const slot of this.slots) {
      if (slot.loggedIn && (best === undefined || slot.inFlight < best.inFlight)) best = slot;
    }
    if (best === undefined) throw this.notReady();
    return best.perform(operation, identityOf(key), params as never);
  }

  /** Resolves once unlocked; waits only while a login or a restart is under way. */
  private async ready(signal: AbortSignal): Promise<void> {
    if (this.current === 'unlocked') return;
    if (this.current !== 'unlocking') throw this.notReady();
    if (this.held >= heldMax) throw new AgentError('BUSY', 'too many requests wait for the login', { retryAfterMs: 500 });
    this.held++;
    try {
      await this.nextState(signal);
    } finally {
      this.held--;
    }
    return this.ready(signal);
  }

  private nextState(signal: AbortSignal): Promise<void> {
    return new Promise((resolve, reject) => {
      const done = (settle: () => void): void => {
        clearTimeout(timer);
        this.off('state', changed);
        signal.removeEventListener('abort', aborted);
        settle();
      };
      const changed = (): void => {
        done(resolve);
      };
      const aborted = (): void => {
        done(() => {
          reject(signal.reason as Error);
        });
      };
      const timer = setTimeout(() => {
        done(() => {
          reject(this.notReady());
        });
      }, this.settings.holdMs);
      this.once('state', changed);
      signal.addEventListener('abort', aborted, { once: true });
    });
  }

  private notReady(): AgentError {
    switch (this.current) {
      case 'absent':
        return new AgentError('TOKEN_ABSENT', `token ${this.name} is not there: ${this.detail}`);
      case 'failed':
        return new AgentError('TOKEN_ERROR', `token ${this.name} failed: ${this.detail}`);
      case 'unlocking':
        return new AgentError('LOCKED', `token ${this.name} is still being unlocked; try again`);
      case 'locked':
      case 'pin-blocked':
      case 'unlocked':
        return new AgentError('LOCKED', `token ${this.name} is locked: ${this.detail}`);
    }
  }

  private async readPublicData(): Promise<void> {
    const cached = this.loadCache();
    if (cached !== undefined) this.serve(cached, true);
    else this.serve((await this.anySlot().keys()).keys, false);
  }

  private async readVerifiedKeys(): Promise<void> {
    let keys: HostKey[] = [];
    for (const slot of this.slots) {
      if (!slot.loggedIn) continue;
      const answer = await slot.keys();
      keys = answer.keys;
      for (const { label, id, reason } of answer.unusable) {
        const key = `${label} (id ${Buffer.from(id).toString('hex')})`;
        this.log.warn(`key cannot be served: ${reason}`, { token: this.name, key });
      }
    }
    for (const key of keys.filter(({ state }) => state === 'mismatch')) {
      this.log.error('public data belongs to another private key', { token: this.name, key: key.label });
    }
    this.serve(keys, true);
    try {
      this.cache.save(this.info?.serial ?? '', keys);
    } catch (error) {
      this.log.error('public keys cannot be cached; servers cannot start while the token is locked', { token: this.name, error });
    }
  }

  private loadCache(): HostKey[] | undefined {
    try {
      const cached = this.cache.load();
      return cached !== undefined && cached.serial === this.info?.serial ? cached.keys : undefined;
    } catch (error) {
      this.log.error('cached public keys are unreadable and not used', { token: this.name, error });
      return undefined;
    }
  }

  private serve(keys: readonly HostKey[], complete: boolean): void {
    const info = this.info;
    if (info === undefined) return;
    this.keys = keys.map((key) => serveKey(this.name, info, key));
    this.complete = complete;
  }

  private anySlot(): HostSlot {
    const slot = this.slots[0];
    if (slot === undefined) throw new Error('a token has at least one host');
    return slot;
  }

  private openFailed(error: unknown): void {
    const message = error instanceof Error ? error.message : String(error);
    const absent = error instanceof AgentError && error.code === 'TOKEN_ABSENT';
    if (!absent) this.log.error('token cannot be opened', { token: this.name, error });
    this.setState(absent ? 'absent' : 'failed', message);
    this.openLater();
  }

  private openLater(): void {
    clearTimeout(this.retry);
    if (this.stopped) return;
    this.retry = setTimeout(() => void this.open(), this.retryMs);
    this.retryMs = Math.min(this.retryMs * 2, lastRetryMs);
  }

  private hostEnded(slot: HostSlot, how: string): void {
    if (this.stopped) return;
    this.log.warn(`token host ended: ${how}`, { token: this.name });
    const others = this.slots.some((other) => other !== slot && other.loggedIn);
    if (this.current === 'unlocked' && !others) this.setState('unlocking', `the token host ended (${how}) and restarts`);
    if (this.current === 'absent') this.openLater();
    else void this.open();
  }

  /** The card or token was pulled: nothing that the hosts hold is of use. They start anew and wait for it. */
  private tokenLeft(): void {
    if (this.current === 'absent') return;
    this.setState('absent', 'the token was removed');
    for (const slot of this.slots) slot.kill();
  }
}
