/**
 * One configured token: its state, its keys and its hosts. Requests enter by `operations`; logins by `login` and `lock`.
 * It knows nothing of PIN sources: it says `opened` when a host waits for a login, and somebody logs it in.
 */
import { EventEmitter } from 'node:events';
import { AgentError, type TokenState } from '@keyagent/protocol';
import type { Cancellation } from '../cancellation.js';
import type { TokenConfig } from '../config/config.js';
import type { TokenInfo } from '../host/host-protocol.js';
import type { Log } from '../log.js';
import { Availability } from './availability.js';
import type { HostEnd, HostLimits } from './host-process.js';
import { HostSlot } from './host-slot.js';
import type { KeyCache } from './key-cache.js';
import { KeyTable } from './key-table.js';
import { Opening } from './opening.js';
import { Operations, type ContextLogin } from './operations.js';
import { Rescan } from './rescan.js';
import type { ServedKey } from './served-key.js';

/** As they hold now: read whenever one is needed, since a reload may change them. */
export interface TokenLimits extends HostLimits {
  /** How long a request waits for a login or a host restart that is under way, milliseconds. */
  readonly holdMs: number;
}

interface TokenEvents {
  state: [TokenState];
  /** Its public data is another one than before, or it is new or gone. */
  rotated: [ServedKey];
  /** A login is wanted. */
  opened: [];
  /** The token was removed, or dropped its login, under on_removal = "lock". */
  left: [];
  hostEnded: [HostEnd | 'removed'];
}

export class Token extends EventEmitter<TokenEvents> {
  info: TokenInfo | undefined;
  /** C_Login calls that succeeded since the agent started. */
  logins = 0;
  /** Set by whoever knows PINs. */
  contextLogin: ContextLogin = ({ uri }) =>
    Promise.reject(new AgentError('MECHANISM', `${uri} asks for the PIN at every use, and nobody has one`));
  /** Set by whoever knows the other tokens: throws for one that is not to be served under this name. */
  admit: (info: TokenInfo, beside: readonly TokenInfo[]) => void = () => undefined;
  /** What else the module showed when it was found. */
  beside: readonly TokenInfo[] = [];
  readonly operations: Operations;
  private readonly availability: Availability;
  private readonly table: KeyTable;
  private readonly rescans: Rescan;
  private readonly slots: readonly HostSlot[];
  private readonly opening: Opening;

  /** @param config  what hosts are started with never changes; a reload may change the rest */
  constructor(
    public config: TokenConfig,
    limits: TokenLimits,
    cache: KeyCache,
    private readonly log: Log,
  ) {
    super();
    this.availability = new Availability(config.name, limits);
    this.table = new KeyTable(config.name, cache, log, (key) => this.emit('rotated', key));
    this.rescans = new Rescan(
      () => this.readKeys(),
      () => (this.hasLoggedInHost ? this.config.rescanMs : 0),
      (error) => {
        // Of a token that was locked meanwhile, that is no news.
        if (this.hasLoggedInHost) log.warn('the keys could not be read again', { token: this.name, error });
      },
    );
    const callbacks = {
      found: (info: TokenInfo, beside: readonly TokenInfo[]) => {
        this.admit(info, beside);
        this.info = info;
        this.beside = beside;
      },
      exit: (slot: HostSlot, how: HostEnd) => {
        this.hostEnded(slot, how);
      },
      left: () => {
        this.left('it was removed');
      },
    };
    this.slots = Array.from({ length: config.hosts }, () => new HostSlot(config, limits, callbacks));
    this.opening = new Opening({
      slots: this.slots,
      opened: () => this.opened(),
      failed: (error, absent) => {
        this.openFailed(error, absent);
      },
    });
    this.operations = new Operations({
      token: config.name,
      sessions: config.sessions * config.hosts,
      availability: this.availability,
      slots: this.slots,
      contextLogin: (key, cancellation, use) => this.contextLogin(key, cancellation, use),
      loginLost: () => {
        this.loginLost();
      },
      keyChanged: () => {
        this.rescans.soon();
      },
    });
  }

  get name(): string {
    return this.config.name;
  }

  get state(): TokenState {
    return this.availability.state;
  }

  /** Why it is in this state and what to do. */
  get detail(): string {
    return this.availability.detail;
  }

  /** A request may wait for it. */
  get isAwaited(): boolean {
    return this.availability.isAwaited;
  }

  /** Why nothing can be done with it now. */
  reason(): AgentError {
    return this.availability.reason();
  }

  /** Resolves when its state changes, or after `ms`. */
  nextChange(cancellation: Cancellation, ms: number): Promise<void> {
    return this.availability.nextChange(cancellation, ms);
  }

  get keys(): readonly ServedKey[] {
    return this.table.keys;
  }

  /** Its PIN is typed on the token or its reader: it takes a NULL PIN. */
  get hasPinPad(): boolean {
    return this.info?.flags.includes('protected-authentication-path') ?? false;
  }

  /** True when `keys` lists all of the token's keys. */
  get complete(): boolean {
    return this.table.complete;
  }

  /** A host found it and serves it. */
  get isThere(): boolean {
    return this.slots.some(({ alive }) => alive);
  }

  get hasLoggedInHost(): boolean {
    return this.slots.some(({ loggedIn }) => loggedIn);
  }

  get hasLoggedOutHost(): boolean {
    return this.slots.some(({ loggedIn }) => !loggedIn);
  }

  setState(state: TokenState, detail: string): void {
    if (!this.availability.set(state, detail)) return;
    this.log.info(`token is ${state}: ${detail}`, { token: this.name, state });
    this.emit('state', state);
  }

  /** Starts the hosts that do not run and reads the token's public data. Emits `opened` when a login is wanted. */
  open(): Promise<void> {
    return this.opening.now();
  }

  /**
   * Logs in every host that is not, the first one alone: a wrong PIN costs one try. Rejects as the host does. The keys
   * are to be read again.
   */
  async login(pin: Uint8Array | undefined): Promise<void> {
    for (const slot of this.slots) {
      if (slot.loggedIn) continue;
      await slot.login(pin);
      this.logins++;
    }
  }

  /** The token as it is now: flags change with every failed login. */
  async refreshInfo(): Promise<TokenInfo> {
    // Who asks right after the start waits for the hosts.
    await this.opening.settled();
    const slot = this.slots.find(({ alive }) => alive);
    if (slot === undefined) throw this.availability.reason();
    this.info = await slot.refreshInfo();
    return this.info;
  }

  async lock(detail: string): Promise<void> {
    if (this.state === 'unlocked' || this.state === 'unlocking') this.setState('locked', detail);
    this.availability.giveUpReturn();
    await Promise.all(this.slots.map((slot) => slot.logout()));
  }

  /** Of the hosts that are logged in; the state stays as it is. */
  async logout(): Promise<void> {
    await Promise.all(this.slots.filter(({ loggedIn }) => loggedIn).map((slot) => slot.logout()));
  }

  /** Reads the keys again: objects in the token may have changed. */
  rescan(): Promise<void> {
    return this.rescans.now();
  }

  /** Starts no host and wants no login any more; what was asked of it so far is still answered. */
  retire(): void {
    this.opening.stop();
    this.rescans.stop();
  }

  stop(): void {
    this.retire();
    for (const slot of this.slots) slot.kill();
  }

  /**
   * The card or token is gone: nothing that the hosts hold is of use, and new ones look for it. `on_removal` says what
   * becomes of requests, and whether its return is the end of it.
   */
  left(why: string): void {
    if (this.opening.stopped || !this.isThere) return;
    const { onRemoval } = this.config;
    const wasUnlocked = this.state === 'unlocked' || this.state === 'unlocking';
    this.setState('absent', why);
    if (onRemoval === 'hold' && wasUnlocked) this.availability.awaitReturn();
    for (const slot of this.slots) {
      slot.retire();
      if (onRemoval === 'lock') slot.kill();
    }
    if (onRemoval === 'lock') this.emit('left');
    this.opening.soon();
  }

  private async readKeys(): Promise<void> {
    const { info, slots, table } = this;
    const slot = slots.find(({ alive }) => alive);
    if (info === undefined || slot === undefined) return;
    if (this.hasLoggedInHost) await table.readVerified(slots, info);
    else await table.readPublic(slot, info);
  }

  private async opened(): Promise<void> {
    if (this.state !== 'unlocked' && this.state !== 'unlocking') {
      await this.rescan();
      this.setState('locked', `run "keyagent unlock ${this.name}"`);
    }
    this.emit('opened');
  }

  private openFailed(error: unknown, absent: boolean): void {
    const message = error instanceof Error ? error.message : String(error);
    if (!absent) this.log.error('token cannot be opened', { token: this.name, error });
    this.setState(absent ? 'absent' : 'failed', message);
  }

  private hostEnded(slot: HostSlot, how: HostEnd): void {
    if (this.opening.stopped) return;
    this.emit('hostEnded', this.state === 'absent' ? 'removed' : how);
    this.log.warn(`token host ended: ${how}`, { token: this.name });
    const othersServe = this.slots.some((other) => other !== slot && other.loggedIn);
    if (this.state === 'unlocked' && !othersServe) {
      this.setState('unlocking', `the token host ended (${how}) and restarts`);
    }
    this.opening.again(this.state === 'absent');
  }

  /** The token dropped it behind our back. For a token that was out and in again that is all there is to see. */
  private loginLost(): void {
    if (this.opening.stopped) return;
    // Where one of several hosts lost it, the others serve while that one is logged in again.
    if (!this.hasLoggedInHost) {
      if (this.config.onRemoval === 'lock') {
        this.left('it dropped its login, as a token does that was removed');
        return;
      }
      this.setState('unlocking', 'the token dropped its login');
    }
    this.emit('opened');
  }
}
