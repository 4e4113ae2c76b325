/**
 * Brings PINs to one token: from its automatic sources when it opens, from an operator when one comes. One login at a
 * time; a wrong PIN is said once and never retried.
 */
import { AgentError, type SourceName } from '@keyagent/protocol';
import type { AuditLog } from '../audit/audit-log.js';
import type { Log } from '../log.js';
import type { Peer } from '../policy/peer.js';
import { TokenFault } from '../token/host-process.js';
import type { Token } from '../token/token.js';
import type { KnownSerial } from './known-serial.js';
import type { PinBudget } from './pin-budget.js';
import { RetainedPin } from './retained-pin.js';
import type { Revocation } from './revocation.js';
import type { SourceAnswers } from './source-answers.js';

export interface OperatorUnlock {
  readonly pin?: Uint8Array | undefined;
  /** The agent asks this source instead. */
  readonly source?: SourceName | undefined;
  /** Where the operator's PIN came from, for the record. */
  readonly via?: SourceName | undefined;
  readonly forMs?: number | undefined;
  /** Even when one wrong PIN would lock the token. */
  readonly force?: boolean | undefined;
}

export interface UnlockerParts {
  readonly token: Token;
  readonly budget: PinBudget;
  readonly serial: KnownSerial;
  readonly answers: SourceAnswers;
  readonly revocation: Revocation;
  readonly audit: AuditLog;
  readonly log: Log;
}

/** CKF_USER_PIN_COUNT_LOW alone does not forbid: SoftHSM sets it after one failure. */
const forbidsAutomaticLogin: ReadonlySet<string> = new Set([
  'user-pin-final-try',
  'user-pin-locked',
  'user-pin-to-be-changed',
]);
/** Until sources that may recover are asked again, milliseconds: servers may start later than this machine. */
const askAgainMs = { first: 5000, last: 60_000 };
/** setTimeout takes no more. */
const longestTimerMs = 2 ** 31 - 1;

export class TokenUnlocker {
  private readonly retained = new RetainedPin();
  /** The last login or lock; the next one waits for it. */
  private turn: Promise<unknown> = Promise.resolve();
  private lockTimer: NodeJS.Timeout | undefined;
  private askTimer: NodeJS.Timeout | undefined;
  private askAgainMs = askAgainMs.first;
  /** While a source is asked without hands: ends that. */
  private asking: AbortController | undefined;
  /** Counts `lock` and `stop`: what was asked for before them does not stand. */
  private locks = 0;
  /** Its time ran out: as after a lock, an operator is needed, until this process ends. */
  private expired = false;

  constructor(private readonly parts: UnlockerParts) {
    const { token, revocation } = parts;
    token.on('opened', () => {
      const { unlock } = token.config;
      const mayUnlock = unlock[0] !== 'prompt' && !revocation.has(token.name) && !this.expired;
      // Requests that come meanwhile are held: a server that starts with the machine finds its key.
      if (token.state === 'locked' && mayUnlock) token.setState('unlocking', 'asking its PIN sources');
      this.startAutomatic(unlock);
    });
  }

  /** Resolves to true if the token was unlocked already: then the PIN was not even looked at. */
  unlock(request: OperatorUnlock, peer: Peer): Promise<boolean> {
    const { token, answers, audit } = this.parts;
    const { locks } = this;
    if (request.pin !== undefined) this.giveWay('an operator came first');
    return this.inTurn(async () => {
      const nothingGiven = request.pin === undefined && request.source === undefined;
      if (token.state === 'unlocked' && (nothingGiven || !token.hasLoggedOutHost)) return true;
      const source = request.source ?? request.via ?? 'prompt';
      let pin = request.pin;
      try {
        audit.requireWritable();
        if (request.source !== undefined) pin = await answers.ask(request.source);
        await this.operatorLogin(source, pin, request.force ?? false, locks);
      } catch (error) {
        await this.record(source, error, peer);
        throw error;
      } finally {
        pin?.fill(0);
      }
      this.lockLater(request.forMs ?? token.config.lockAfterMs);
      await this.record(source, undefined, peer);
      return false;
    });
  }

  /** Ends the login. What is under way finishes; what waits is refused. */
  async lock(why: string): Promise<void> {
    this.stop();
    this.giveWay(why);
    const { token } = this.parts;
    await token.lock(`${why}; run "keyagent unlock ${token.name}"`);
    this.awaitOperator();
  }

  /** No login that was asked for so far stands any more, and nothing is kept for another. */
  stop(): void {
    this.locks++;
    clearTimeout(this.lockTimer);
    clearTimeout(this.askTimer);
    this.retained.wipe();
  }

  /** Nobody who is there should wait for a server that is not. */
  private giveWay(why: string): void {
    this.asking?.abort(new AgentError('CANCELLED', why));
  }

  private awaitOperator(): void {
    const { token, answers } = this.parts;
    if (!token.hasLoggedInHost && token.config.unlock.includes('prompt')) answers.awaitOperator();
  }

  private startAutomatic(sources: readonly SourceName[]): void {
    clearTimeout(this.askTimer);
    const { locks } = this;
    this.inTurn(() => this.unlockAutomatically(sources, locks)).catch((error: unknown) => {
      this.parts.log.error('automatic unlock failed', { token: this.parts.token.name, error });
    });
  }

  private inTurn<T>(work: () => Promise<T>): Promise<T> {
    const run = this.turn.then(work);
    this.turn = run.catch(() => undefined);
    return run;
  }

  private async unlockAutomatically(sources: readonly SourceName[], locks: number): Promise<void> {
    const { token, revocation } = this.parts;
    if (!token.hasLoggedOutHost) return;
    if (revocation.has(token.name) || this.expired || locks !== this.locks) {
      const why = revocation.has(token.name) ? 'an operator locked it' : 'it was locked';
      token.setState('locked', `${why}; run "keyagent unlock ${token.name}"`);
    } else {
      const kept = this.retained.copy();
      try {
        await this.trySources(kept === undefined ? sources : [kept.source], kept?.pin, locks);
      } finally {
        kept?.pin.fill(0);
      }
    }
    this.awaitOperator();
  }

  private async trySources(
    sources: readonly SourceName[],
    kept: Buffer | undefined,
    locks: number,
  ): Promise<void> {
    const { token, answers } = this.parts;
    const again: SourceName[] = [];
    for (const source of sources) {
      if (source === 'prompt' && kept === undefined) break;
      try {
        await this.automaticLogin(source, kept, locks);
        return;
      } catch (error) {
        // Only a source that had nothing to give lets the next one try.
        const code = codeOf(error);
        if (code !== 'SOURCE_FAILED' && code !== 'CANCELLED') {
          await this.loginFailed(error);
          return;
        }
        if (answers.mayRecover(source)) again.push(source);
        if (code === 'CANCELLED') break;
      }
    }
    if (!token.hasLoggedInHost) token.setState('locked', `run "keyagent unlock ${token.name}"`);
    if (again.length > 0) this.askLater(again);
  }

  private askLater(sources: readonly SourceName[]): void {
    this.askTimer = setTimeout(() => {
      this.startAutomatic(sources);
    }, this.askAgainMs).unref();
    this.askAgainMs = Math.min(2 * this.askAgainMs, askAgainMs.last);
  }

  private async automaticLogin(source: SourceName, kept: Buffer | undefined, locks: number): Promise<void> {
    const { token, budget, serial, answers } = this.parts;
    let pin = kept;
    try {
      budget.requireSource(source);
      pin ??= await this.ask(source);
      const info = await token.refreshInfo();
      const forbidding = info.flags.find((flag) => forbidsAutomaticLogin.has(flag));
      if (forbidding !== undefined) {
        throw new AgentError('PIN_BLOCKED', `no automatic login: the token says ${forbidding}`);
      }
      serial.require(info.serial);
      this.requireNotLocked(locks);
      budget.spend(source, info.serial, pin);
      token.setState('unlocking', `logging in with the PIN from ${source}`);
      await this.login(pin, locks);
      this.loggedIn(source, pin);
    } catch (error) {
      // A source that gave nothing has its answer noted already, and is no attempt to unlock.
      if (pin === undefined && codeOf(error) !== 'PIN_BLOCKED') throw error;
      if (codeOf(error) === 'PIN_INCORRECT') this.retained.wipe();
      answers.refused(source, refusal(error));
      await this.record(source, error);
      throw error;
    } finally {
      pin?.fill(0);
    }
    // A login after a host restart does not prolong the first one.
    if (kept === undefined) this.lockLater(token.config.lockAfterMs);
    await this.record(source);
  }

  private async ask(source: SourceName): Promise<Buffer> {
    const { token, answers } = this.parts;
    if (token.state === 'locked') token.setState('locked', `asking ${source} for its PIN`);
    this.asking = new AbortController();
    try {
      return await answers.ask(source, this.asking.signal);
    } finally {
      this.asking = undefined;
    }
  }

  private async operatorLogin(
    source: SourceName,
    pin: Uint8Array | undefined,
    force: boolean,
    locks: number,
  ): Promise<void> {
    const { token, revocation } = this.parts;
    const { flags } = await token.refreshInfo();
    if (pin === undefined && !flags.includes('protected-authentication-path')) {
      throw new AgentError('INVALID', `token ${token.name} needs a PIN`);
    }
    if (flags.includes('user-pin-locked')) {
      throw new AgentError(
        'PIN_BLOCKED',
        `the PIN of ${token.name} is locked; its security officer must set a new one`,
      );
    }
    if (flags.includes('user-pin-final-try') && !force) {
      throw new AgentError(
        'PIN_BLOCKED',
        `one wrong PIN now locks ${token.name}; say --force if you are sure`,
      );
    }
    this.requireNotLocked(locks);
    token.setState('unlocking', 'an operator is logging in');
    try {
      await this.login(pin, locks);
    } catch (error) {
      this.parts.answers.refused(source, refusal(error));
      await this.loginFailed(error);
      throw error;
    }
    this.loggedIn(source, pin);
    revocation.remove(token.name);
  }

  /** The login of `pin`, if nobody locked the token since `locks`; undone if somebody did while it was under way. */
  private async login(pin: Uint8Array | undefined, locks: number): Promise<void> {
    const { token } = this.parts;
    await token.login(pin);
    if (locks !== this.locks) await token.lock(`run "keyagent unlock ${token.name}"`);
    this.requireNotLocked(locks);
  }

  private requireNotLocked(locks: number): void {
    if (locks !== this.locks) {
      throw new AgentError('CANCELLED', `${this.parts.token.name} was locked meanwhile, and stays locked`);
    }
  }

  private loggedIn(source: SourceName, pin: Uint8Array | undefined): void {
    const { token, answers } = this.parts;
    clearTimeout(this.askTimer);
    this.askAgainMs = askAgainMs.first;
    this.expired = false;
    this.noteSuccess();
    this.retained.wipe();
    if (token.config.retainPin && pin !== undefined) this.retained.keep(source, pin);
    answers.unlocked(source);
    token.setState('unlocked', `unlocked by ${source}`);
  }

  /** The login stands even if the state directory cannot take note of it; the next one then needs an operator. */
  private noteSuccess(): void {
    const { token, budget, serial, log } = this.parts;
    try {
      if (token.info !== undefined) serial.remember(token.info.serial);
      budget.restore();
    } catch (error) {
      log.error('the state directory cannot be written: the next login will need an operator', {
        token: token.name,
        error,
      });
    }
  }

  private async loginFailed(error: unknown): Promise<void> {
    const { token, log } = this.parts;
    const code = codeOf(error);
    // One more host of an unlocked token could not log in: the others go on.
    if (token.hasLoggedInHost) token.setState('unlocked', `with fewer hosts: ${textOf(error)}`);
    else if (code === 'TOKEN_ABSENT') token.setState('absent', textOf(error));
    else if (code === 'PIN_BLOCKED') token.setState('pin-blocked', textOf(error));
    else token.setState('locked', `${textOf(error)}; run "keyagent unlock ${token.name}"`);
    const ckr = error instanceof TokenFault ? error.ckr : undefined;
    log.warn('login failed', { token: token.name, error, ...(ckr === undefined ? {} : { ckr }) });
    if (code === 'PIN_INCORRECT') await this.readFlags();
  }

  /** A refused PIN changes the flags that the next prompt shows. */
  private async readFlags(): Promise<void> {
    const { token, log } = this.parts;
    try {
      await token.refreshInfo();
    } catch (error) {
      log.warn('the flags of the token cannot be read', { token: token.name, error });
    }
  }

  private record(source: SourceName, error?: unknown, peer?: Peer): Promise<void> {
    const outcome = error === undefined ? 'ok' : (codeOf(error) ?? 'INTERNAL');
    return this.parts.audit.note({ event: 'unlock', token: this.parts.token.name, source, outcome, peer });
  }

  private lockLater(ms: number | undefined): void {
    clearTimeout(this.lockTimer);
    if (ms === undefined) return;
    const end = (): void => {
      const { audit, token } = this.parts;
      this.inTurn(async () => {
        this.expired = true;
        await this.lock('its time is over');
        await audit.note({ event: 'lock', token: token.name, outcome: 'ok' });
      }).catch((error: unknown) => {
        this.parts.log.error('lock failed', { token: this.parts.token.name, error });
      });
    };
    this.lockTimer = setTimeout(end, Math.min(ms, longestTimerMs)).unref();
  }
}

function codeOf(error: unknown): AgentError['code'] | undefined {
  return error instanceof AgentError ? error.code : undefined;
}

function refusal(error: unknown): string {
  return codeOf(error) === 'PIN_INCORRECT' ? 'the token refused its PIN' : textOf(error);
}

function textOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}
