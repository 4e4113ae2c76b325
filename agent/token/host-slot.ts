/** A place for one host of a token: the process that fills it now, whether it is logged in, and its key refs. */
import { AgentError } from '@keyagent/protocol';
import type { HostKey, HostParams, HostResult, TokenInfo, UnusableKey } from '../host/host-protocol.js';
import type { TokenConfig } from '../config/config.js';
import { HostProcess, type HostEnd, type HostLimits } from './host-process.js';
import { keyIdentity } from './served-key.js';

/** Looks of one process for its token. */
const searchesMax = 60;

/** For one operation with a key that asks for the PIN each time. */
export interface OneUse {
  /** Stays the giver's to wipe. */
  readonly pin: Uint8Array;
  /** Called when the token took it. */
  readonly authenticated: () => void;
}

export class HostSlot {
  loggedIn = false;
  private host: HostProcess | undefined;
  /** The process found its token: it takes other operations. */
  private opened = false;
  private refs = new Map<string, number>();
  /** How often this process looks for the token before the next one does, and how often that one will. */
  private searches = { left: 0, next: 1 };
  /** Those that end when the last of their operations does. */
  private readonly retired = new Set<HostProcess>();

  constructor(
    private readonly config: TokenConfig,
    private readonly limits: HostLimits,
    private readonly callbacks: {
      /** Throws for a token that is not to be served: its process ends. */
      found(info: TokenInfo, beside: readonly TokenInfo[]): void;
      exit(slot: HostSlot, how: HostEnd): void;
      /** The token is not there any more. */
      left(): void;
    },
  ) {}

  get inFlight(): number {
    return this.host?.inFlight ?? 0;
  }

  get alive(): boolean {
    return this.opened && this.host?.alive === true;
  }

  /** Finds the token. Rejects with TOKEN_ABSENT when it is not there, with CONFIGURATION for a module that others could change, and as `found` does; then it may be asked again. */
  async open(): Promise<void> {
    const { sessions, module, uri } = this.config;
    const host = this.searcher();
    this.host = host;
    try {
      const { token, beside } = await host.call('open', { module, uri: uri.text, sessions });
      this.callbacks.found(token, beside);
    } catch (error) {
      if (!(error instanceof AgentError) || error.code !== 'TOKEN_ABSENT') {
        this.host = undefined;
        host.kill();
      }
      throw error;
    }
    this.opened = true;
    this.searches = { left: 0, next: 1 };
    host.once('exit', (how) => {
      if (this.host !== host) return;
      this.forget();
      this.callbacks.exit(this, how);
    });
    host.on('locked', () => {
      if (this.host === host) this.loggedIn = false;
    });
    host.on('presence', (present) => {
      if (this.host === host && !present) this.callbacks.left();
    });
  }

  /** The process that did not find the token before, or a new one: some modules show a token that came later only to that. */
  private searcher(): HostProcess {
    const { left, next } = this.searches;
    if (!this.opened && this.host?.alive === true && left > 0) {
      this.searches.left--;
      return this.host;
    }
    this.host?.kill();
    this.opened = false;
    this.searches = { left: next, next: Math.min(2 * next, searchesMax) };
    const { name: token, sessions, env } = this.config;
    return new HostProcess({ token, sessions, env, limits: this.limits });
  }

  /** undefined: a NULL PIN, for a protected authentication path. */
  async login(pin: Uint8Array | undefined): Promise<void> {
    const { already } = await this.running()
      .login(pin)
      .catch((error: unknown) => this.pinUnread(error));
    // Nobody else logs in through this process: somebody's earlier login would prove nothing about this PIN.
    if (already) {
      this.kill();
      throw new AgentError(
        'TOKEN_ERROR',
        'the module says that it is logged in already; its host was restarted',
      );
    }
    this.loggedIn = true;
  }

  /** A process that does not log out is killed: either way the login is gone. */
  async logout(): Promise<void> {
    this.loggedIn = false;
    this.refs.clear();
    const { host } = this;
    if (host?.alive !== true) return;
    try {
      await host.call('logout', {});
    } catch {
      // Not whatever fills the slot by now: a successor has done nothing wrong.
      host.kill();
    }
  }

  async keys(): Promise<{ keys: HostKey[]; unusable: UnusableKey[] }> {
    const { keys, unusable, loggedIn } = await this.running().call('keys', {});
    this.loggedIn &&= loggedIn;
    if (loggedIn) this.refs = new Map(keys.map((key) => [keyIdentity(key), key.ref]));
    return { keys, unusable };
  }

  /** Flags change with every failed login. */
  async refreshInfo(): Promise<TokenInfo> {
    return (await this.running().call('token', {})).token;
  }

  perform<O extends 'sign' | 'decrypt'>(
    operation: O,
    identity: string,
    params: (ref: number) => HostParams<O>,
    oneUse?: OneUse,
  ): Promise<HostResult<O>> {
    const ref = this.refs.get(identity);
    if (ref === undefined) throw new AgentError('NOT_FOUND', 'the key is no longer in the token');
    const host = this.running();
    if (oneUse === undefined) return host.call(operation, params(ref));
    return performOnce(host, operation, params(ref), oneUse).catch((error: unknown) => this.pinUnread(error));
  }

  /** A PIN that was not read is still on its way: the next login would take it for its own. */
  private pinUnread(error: unknown): never {
    if (error instanceof AgentError && error.code === 'INTERNAL') this.kill();
    throw error;
  }

  kill(): void {
    for (const host of this.retired) host.kill();
    this.host?.kill();
    this.forget();
  }

  /** Empties the slot; what runs in its process finishes or fails by itself. */
  retire(): void {
    const { host } = this;
    this.host = undefined;
    this.forget();
    if (host?.alive !== true) return;
    this.retired.add(host);
    host.once('exit', () => this.retired.delete(host));
    host.killWhenIdle();
  }

  private forget(): void {
    this.loggedIn = false;
    this.refs.clear();
  }

  private running(): HostProcess {
    if (this.host?.alive !== true)
      throw new AgentError('TOKEN_ERROR', 'the token host is restarting; try again');
    return this.host;
  }
}

/** Nobody else has such an operation under way: what the host tells meanwhile is about this one. */
async function performOnce<O extends 'sign' | 'decrypt'>(
  host: HostProcess,
  operation: O,
  params: HostParams<O>,
  { pin, authenticated }: OneUse,
): Promise<HostResult<O>> {
  host.on('authenticated', authenticated);
  try {
    return await host.callWithPin(operation, params, pin);
  } finally {
    host.off('authenticated', authenticated);
  }
}
