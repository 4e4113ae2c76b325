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
/** setTimeout takes no more. */
const longestTimerMs = 2 ** 31 - 1;

export class TokenUnlocker {
  private readonly retained = new RetainedPin();
  /** The last login or lock; the next one waits for it. */
  private turn: Promise<unknown> = Promise.resolve();
  private lockTimer: NodeJS.Timeout | undefined;
  /** Counts `lock`: a login that was under way meanwhile does not stand. */
  private locks = 0;

  constructor(private readonly parts: UnlockerParts) {
    parts.token.on('opened', () => {
      this.inTurn(() => this.unlockAutomatically()).catch((error: unknown) => {
        parts.log.error('automatic unlock failed', { token: parts.token.name, error });
      });
    });
  }

  /** Resolves to true if the token was unlocked already: then the PIN was not even looked at. */
  unlock(request: OperatorUnlock, peer: Peer): Promise<boolean> {
    const { token, answers } = this.parts;
    return this.inTurn(async () => {
      const nothingGiven = request.pin === undefined && request.source === undefined;
      if (token.state === 'unlocked' && (nothingGiven || !token.hasLoggedOutHost)) return true;
      const source = request.source ?? request.via ?? 'prompt';
      let pin = request.pin;
      try {
        if (request.source !== undefined) pin = await answers.ask(request.source);
        await this.operatorLogin(source, pin, request.force ?? false);
      } catch (error) {
        this.record(source, error, peer);
        throw error;
      } finally {
        pin?.fill(0);
      }
      this.record(source, undefined, peer);
      this.lockLater(request.forMs ?? token.config.lockAfterMs);
      return false;
    });
  }

  /** Ends the login. What is under way finishes; what waits is refused. */
  async lock(why: string): Promise<void> {
    this.locks++;
    clearTimeout(this.lockTimer);
    this.retained.wipe();
    const { token } = this.parts;
    await token.lock(`${why}; run "keyagent unlock ${token.name}"`);
  }

  stop(): void {
    clearTimeout(this.lockTimer);
    this.retained.wipe();
  }

  private inTurn<T>(work: () => Promise<T>): Promise<T> {
    const run = this.turn.then(work);
    this.turn = run.catch(() => undefined);
    return run;
  }

  private async unlockAutomatically(): Promise<void> {
    const { token, revocation, answers } = this.parts;
    if (!token.hasLoggedOutHost) return;
    if (revocation.has(token.name)) {
      token.setState('locked', `an operator locked it; run "keyagent unlock ${token.name}"`);
      return;
    }
    const kept = this.retained.copy();
    for (const source of kept === undefined ? token.config.unlock : [kept.source]) {
      if (source === 'prompt' && kept === undefined) {
        answers.note(source, 'waits for an operator');
        break;
      }
      try {
        await this.automaticLogin(source, kept?.pin);
        return;
      } catch (error) {
        // Only a source that had nothing to give lets the next one try.
        if (error instanceof AgentError && error.code === 'SOURCE_FAILED') continue;
        this.loginFailed(error);
        return;
      }
    }
    if (!token.hasLoggedInHost) token.setState('locked', `run "keyagent unlock ${token.name}"`);
  }

  private async automaticLogin(source: SourceName, kept: Buffer | undefined): Promise<void> {
    const { token, budget, answers } = this.parts;
    budget.requireSource(source);
    const pin = kept ?? (await answers.ask(source));
    try {
      const info = await token.refreshInfo();
      const forbidding = info.flags.find((flag) => forbidsAutomaticLogin.has(flag));
      if (forbidding !== undefined) {
        throw new AgentError('PIN_BLOCKED', `no automatic login: the token says ${forbidding}`);
      }
      budget.spend(source, info.serial, pin);
      token.setState('unlocking', `logging in with the PIN from ${source}`);
      await this.login(pin);
      this.loggedIn(source, pin);
    } catch (error) {
      answers.note(source, codeOf(error) === 'PIN_INCORRECT' ? 'the token refused its PIN' : textOf(error));
      this.record(source, error);
      throw error;
    } finally {
      pin.fill(0);
    }
    this.record(source);
    // A login after a host restart does not prolong the first one.
    if (kept === undefined) this.lockLater(token.config.lockAfterMs);
  }

  private async operatorLogin(
    source: SourceName,
    pin: Uint8Array | undefined,
    force: boolean,
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
    token.setState('unlocking', 'an operator is logging in');
    try {
      await this.login(pin);
    } catch (error) {
      this.loginFailed(error);
      throw error;
    }
    this.loggedIn(source, pin);
    revocation.remove(token.name);
  }

  private async login(pin: Uint8Array | undefined): Promise<void> {
    const { token } = this.parts;
    const { locks } = this;
    await token.login(pin);
    if (locks === this.locks) return;
    const message = 'it was locked while the login was under way';
    await token.lock(message);
    throw new AgentError('LOCKED', message);
  }

  private loggedIn(source: SourceName, pin: Uint8Array | undefined): void {
    const { token, budget, answers } = this.parts;
    budget.restore();
    this.retained.wipe();
    if (token.config.retainPin && pin !== undefined) this.retained.keep(source, pin);
    answers.note(source, 'unlocked the token');
    token.setState('unlocked', `unlocked by ${source}`);
  }

  private loginFailed(error: unknown): void {
    const { token, log } = this.parts;
    const code = codeOf(error);
    // One more host of an unlocked token could not log in: the others go on.
    if (token.hasLoggedInHost) token.setState('unlocked', `with fewer hosts: ${textOf(error)}`);
    else if (code === 'TOKEN_ABSENT') token.setState('absent', textOf(error));
    else if (code === 'PIN_BLOCKED') token.setState('pin-blocked', textOf(error));
    else token.setState('locked', `${textOf(error)}; run "keyagent unlock ${token.name}"`);
    const ckr = error instanceof TokenFault ? error.ckr : undefined;
    log.warn('login failed', { token: token.name, error, ...(ckr === undefined ? {} : { ckr }) });
  }

  private record(source: SourceName, error?: unknown, peer?: Peer): void {
    const outcome = error === undefined ? 'ok' : (codeOf(error) ?? 'INTERNAL');
    const token = this.parts.token.name;
    this.parts.audit.record({
      event: 'unlock',
      token,
      source,
      outcome,
      ...(peer === undefined ? {} : { peer }),
    });
  }

  private lockLater(ms: number | undefined): void {
    clearTimeout(this.lockTimer);
    if (ms === undefined) return;
    const end = (): void => {
      this.inTurn(() => this.lock('its time is over')).catch((error: unknown) => {
        this.parts.log.error('lock failed', { token: this.parts.token.name, error });
      });
    };
    this.lockTimer = setTimeout(end, Math.min(ms, longestTimerMs)).unref();
  }
}

function codeOf(error: unknown): AgentError['code'] | undefined {
  return error instanceof AgentError ? error.code : undefined;
}

function textOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}
