/**
 * Brings PINs to one token: from its automatic sources when it opens, from an operator when one comes. One login at a
 * time; a wrong PIN is said once and never retried.
 */
import { isDeepStrictEqual } from 'node:util';
import { AgentError, type SourceName } from '@keyagent/protocol';
import type { AuditRecord } from '../audit/record.js';
import type { TokenConfig } from '../config/config.js';
import type { Peer } from '../policy/peer.js';
import { AutomaticUnlock } from './automatic-unlock.js';
import { ContextLogins } from './context-logins.js';
import { Lifetime } from './lifetime.js';
import { Logins, refusal, type LoginParts } from './logins.js';
import { requireLoginPossible, triesLeft } from './login-possible.js';
import { Prompts } from './prompts.js';
import { wipe } from './secret-bytes.js';

export interface OperatorUnlock {
  readonly pin?: Uint8Array | undefined;
  /** The agent asks this source instead. */
  readonly source?: SourceName | undefined;
  /** Where the operator's PIN came from, for the record. */
  readonly via?: SourceName | undefined;
  readonly forMs?: number | undefined;
  /** Even when one wrong PIN would lock the token. */
  readonly force?: boolean | undefined;
  /** The operators' cards that the PIN came from, for the record. */
  readonly cards?: AuditRecord['cards'];
}

export interface UnlockerParts extends LoginParts {
  /** Called at each lock, whoever or whatever locks. */
  readonly onLock: () => void;
}

export class TokenUnlocker {
  readonly prompts: Prompts;
  private readonly logins: Logins;
  private readonly lifetime: Lifetime;
  private readonly automatic: AutomaticUnlock;
  /** No login is begun any more. */
  private stopped = false;
  /** The last login or lock; the next one waits for it. */
  private turn: Promise<unknown> = Promise.resolve();

  constructor(private readonly parts: UnlockerParts) {
    const { token } = parts;
    this.logins = new Logins(parts);
    this.prompts = new Prompts(token);
    this.lifetime = new Lifetime({
      idleMs: () => token.config.lockIdleMs,
      uses: () => token.operations.count,
      over: (why) => {
        this.endUnasked(this.end(why));
      },
    });
    this.automatic = new AutomaticUnlock(
      parts,
      this.logins,
      (work) => this.inTurn(work),
      () => {
        // A login that is only made again lasts no longer for it.
        if (!this.lifetime.running) this.lifetime.begin(token.config.lockAfterMs);
      },
    );
    const contextLogins = new ContextLogins(parts, this.logins, (work) => this.inTurn(work));
    token.contextLogin = (key, cancellation, use) => contextLogins.run(key, cancellation, use);
    token.on('opened', () => {
      this.askSources();
    });
    token.on('left', () => {
      this.endUnasked(this.revoke());
    });
  }

  /** Resolves to true if the token was unlocked already: then the PIN was not even looked at. */
  unlock(request: OperatorUnlock, peer: Peer): Promise<boolean> {
    const { token } = this.parts;
    const { locks } = this.logins;
    if (request.pin !== undefined) this.automatic.giveWay('an operator came first');
    return this.inTurn(async () => {
      const nothingGiven = request.pin === undefined && request.source === undefined;
      if (token.state === 'unlocked' && (nothingGiven || !token.hasLoggedOutHost)) {
        if (request.forMs !== undefined) this.lifetime.shorten(request.forMs);
        return true;
      }
      const source = request.source ?? request.via ?? (nothingGiven && token.hasPinPad ? 'card' : 'prompt');
      try {
        await this.operatorUnlock(source, request, locks);
      } catch (error) {
        await this.logins.record(source, error, peer, request.cards);
        throw error;
      }
      this.lifetime.begin(request.forMs ?? token.config.lockAfterMs);
      await this.logins.record(source, undefined, peer, request.cards);
      return false;
    });
  }

  /** Ends the login, and every one that was asked for so far. */
  async lock(why: string): Promise<void> {
    this.parts.onLock();
    this.automatic.stop();
    this.automatic.giveWay(why);
    this.lifetime.stop();
    await this.logins.end(why);
    this.automatic.awaitOperator();
  }

  /** When it locks by itself if nobody uses it meanwhile, milliseconds since 1970; undefined: it does not. */
  get locksAt(): number | undefined {
    const { leftMs } = this.lifetime;
    return leftMs === undefined ? undefined : Date.now() + leftMs;
  }

  /** The token left, and on_removal says that this locks: as `keyagent lock` does, also across restarts. */
  private async revoke(): Promise<void> {
    const { token, revocation } = this.parts;
    try {
      revocation.add([token.name]);
    } finally {
      await this.end('it was removed');
    }
  }

  /** A lock by nobody: only an operator logs in again, as long as this process lives. */
  private async end(why: string): Promise<void> {
    const { token, audit } = this.parts;
    this.logins.endedBecause = why;
    await this.lock(why);
    await audit.note({ event: 'lock', token: token.name, outcome: 'ok' });
  }

  private endUnasked(end: Promise<void>): void {
    end.catch((error: unknown) => {
      this.parts.log.error('lock failed', { token: this.parts.token.name, error });
    });
  }

  /**
   * No login stands any more, none is begun by itself, and nothing is kept for another. Settles when what was under way has
   * come to its end.
   */
  async stop(why = 'the agent is stopping'): Promise<void> {
    this.stopped = true;
    this.prompts.stop(why);
    this.lifetime.stop();
    this.automatic.end();
    this.automatic.giveWay(why);
    this.logins.stop();
    await this.turn;
  }

  /** Takes over settings that need no other login. */
  configure(config: TokenConfig): void {
    const { token } = this.parts;
    const before = token.config;
    token.config = config;
    this.lifetime.lookNow();
    if (!config.retainPin) this.logins.retained.wipe();
    const waits = token.state === 'locked' || token.state === 'pin-blocked';
    if (waits && !hasSameSources(before, config)) this.askSources();
  }

  private askSources(): void {
    // Of a token that was still being opened: its login would be cut off.
    if (this.stopped) return;
    const { token } = this.parts;
    const { unlock } = token.config;
    const asks = unlock[0] !== 'prompt' || this.logins.retained.isKept;
    // Requests that come meanwhile are held: a server that starts with the machine finds its key.
    if (token.state === 'locked' && asks && this.automatic.isAllowed) {
      token.setState('unlocking', 'asking its PIN sources');
    }
    this.automatic.start(unlock);
  }

  private inTurn<T>(work: () => Promise<T>): Promise<T> {
    const run = this.turn.then(work);
    this.turn = run.catch(() => undefined);
    return run;
  }

  private async operatorUnlock(
    source: SourceName,
    { pin: given, source: asked, force = false }: OperatorUnlock,
    locks: number,
  ): Promise<void> {
    const { token, answers, audit } = this.parts;
    audit.requireWritable();
    const onPinPad = given === undefined && (asked ?? 'card') === 'card' && token.hasPinPad;
    const pin = asked === undefined || onPinPad ? given : await answers.ask(asked);
    try {
      await this.requireLoginPossible(pin, force);
      this.logins.requireNotLocked(locks);
      if (onPinPad) this.logins.awaitPinPad();
      else token.setState('unlocking', 'an operator is logging in');
      await this.login(source, pin, locks);
      this.automatic.stop();
    } finally {
      wipe(pin);
    }
  }

  private async login(source: SourceName, pin: Uint8Array | undefined, locks: number): Promise<void> {
    try {
      await this.logins.run(source, pin, locks);
    } catch (error) {
      this.parts.answers.refused(source, refusal(error));
      await this.logins.failed(error);
      throw withTriesLeft(error, this.parts.token.info?.flags ?? []);
    }
  }

  /** What the token itself says against a login, as it is now. */
  private async requireLoginPossible(pin: Uint8Array | undefined, force: boolean): Promise<void> {
    const { token } = this.parts;
    const { flags } = await token.refreshInfo();
    requireLoginPossible(token.name, flags, { pin: pin !== undefined, force });
  }
}

/** @param flags  as the token has them now */
function withTriesLeft(error: unknown, flags: readonly string[]): unknown {
  const left = triesLeft(flags);
  if (!(error instanceof AgentError) || error.code !== 'PIN_INCORRECT' || left === '') return error;
  return new AgentError('PIN_INCORRECT', `${error.message}; ${left}`, { cause: error });
}

function hasSameSources(a: TokenConfig, b: TokenConfig): boolean {
  const sources = (config: TokenConfig): unknown[] => [
    config.unlock,
    config.credential,
    config.clevisFile,
    config.keyringService,
    config.keyringAccount,
  ];
  return isDeepStrictEqual(sources(a), sources(b));
}
