/**
 * The logins of one token, whoever brings the PIN: what makes one stand, and what follows from one that succeeded or
 * failed.
 */
import { AgentError, type SourceName } from '@keyagent/protocol';
import type { AuditLog } from '../audit/audit-log.js';
import type { AuditRecord } from '../audit/record.js';
import type { Log } from '../log.js';
import type { Peer } from '../policy/peer.js';
import { TokenFault } from '../token/host-process.js';
import type { Token } from '../token/token.js';
import type { KnownSerial } from './known-serial.js';
import type { PinBudget } from './pin-budget.js';
import { RetainedPin } from './retained-pin.js';
import type { Revocation } from './revocation.js';
import type { SourceAnswers } from './source-answers.js';

export interface LoginParts {
  readonly token: Token;
  readonly budget: PinBudget;
  readonly serial: KnownSerial;
  readonly answers: SourceAnswers;
  readonly revocation: Revocation;
  readonly audit: AuditLog;
  readonly log: Log;
}

const enterOnReader = 'enter the PIN on the reader';
/** CKF_USER_PIN_COUNT_LOW alone does not forbid: SoftHSM sets it after one failure. */
const forbidding: ReadonlySet<string> = new Set([
  'user-pin-final-try',
  'user-pin-locked',
  'user-pin-to-be-changed',
]);

export class Logins {
  readonly retained = new RetainedPin();
  /** Counts `end` and `stop`: what was asked for before them does not stand. */
  locks = 0;
  /** Why the last login ended, where only an operator may log in again as long as this process lives. */
  endedBecause: string | undefined;

  constructor(private readonly parts: LoginParts) {}

  /** The login with `pin`, if nobody locked the token since `locks`; undone if somebody did while it was under way. */
  async run(source: SourceName, pin: Uint8Array | undefined, locks: number): Promise<void> {
    const { token } = this.parts;
    const served = token.hasLoggedInHost;
    try {
      await token.login(pin);
    } catch (error) {
      // The first hosts may be logged in by now; nothing would ever end a login that counts as failed.
      if (!served) await token.logout();
      throw error;
    }
    // Also of a login that does not stand, or of a token that leaves while its keys are read: the PIN was right.
    this.noteSuccess();
    await this.readKeys();
    if (locks !== this.locks) await token.lock(`run "keyagent unlock ${token.name}"`);
    this.requireNotLocked(locks);
    this.succeeded(source, pin);
  }

  /** As long as the login is there it stands: the keys are read again later, and when somebody asks for one. */
  private async readKeys(): Promise<void> {
    const { token, log } = this.parts;
    try {
      await token.rescan();
    } catch (error) {
      if (!token.hasLoggedInHost) throw error;
      log.warn('logged in, but the keys cannot be read', { token: token.name, error });
    }
  }

  /** Somebody has to type the PIN where the token reads it: says so where operators look. */
  awaitPinPad(): void {
    const { token, log } = this.parts;
    token.setState('unlocking', enterOnReader);
    log.info(enterOnReader, { token: token.name });
  }

  requireNotLocked(locks: number): void {
    if (locks === this.locks) return;
    throw new AgentError('CANCELLED', `${this.parts.token.name} was locked meanwhile, and stays locked`);
  }

  /** Says what state a refused or failed login leaves the token in. */
  async failed(error: unknown): Promise<void> {
    const { token, log } = this.parts;
    const code = codeOf(error);
    // One more host of an unlocked token could not log in: the others go on.
    if (token.hasLoggedInHost) token.setState('unlocked', `with fewer hosts: ${textOf(error)}`);
    else if (code === 'TOKEN_ABSENT') token.left(textOf(error));
    else if (!token.isThere) log.info('the token left during a login', { token: token.name });
    else if (code === 'PIN_BLOCKED') token.setState('pin-blocked', textOf(error));
    else token.setState('locked', `${textOf(error)}; run "keyagent unlock ${token.name}"`);
    const ckr = error instanceof TokenFault ? error.ckr : undefined;
    log.warn('login failed', { token: token.name, error, ...(ckr === undefined ? {} : { ckr }) });
    if (code === 'PIN_INCORRECT') await this.readFlags();
  }

  record(source: SourceName, error?: unknown, peer?: Peer, cards?: AuditRecord['cards']): Promise<void> {
    const outcome = error === undefined ? 'ok' : (codeOf(error) ?? 'INTERNAL');
    return this.parts.audit.note({
      event: 'unlock',
      token: this.parts.token.name,
      source,
      outcome,
      peer,
      cards,
    });
  }

  /** Ends the login. What is under way finishes; what waits is refused. */
  async end(why: string): Promise<void> {
    this.stop();
    const { token } = this.parts;
    await token.lock(`${why}; run "keyagent unlock ${token.name}"`);
  }

  /** No login that was asked for so far stands any more, and nothing is kept for another. */
  stop(): void {
    this.locks++;
    this.retained.wipe();
  }

  private succeeded(source: SourceName, pin: Uint8Array | undefined): void {
    const { token, answers, revocation } = this.parts;
    this.endedBecause = undefined;
    this.written(() => {
      revocation.remove(token.name);
    });
    this.retain(source, pin);
    answers.unlocked(source);
    token.setState('unlocked', `unlocked by ${source}`);
  }

  /** The login stands even if there is no locked memory for the PIN; the next one then asks the sources. */
  private retain(source: SourceName, pin: Uint8Array | undefined): void {
    const { token, log } = this.parts;
    this.retained.wipe();
    if (!token.config.retainPin || pin === undefined) return;
    try {
      this.retained.keep(source, pin);
    } catch (error) {
      log.error('the PIN is not kept', { token: token.name, error });
    }
  }

  /** The login stands even if the state directory cannot take note of it; the next one then needs an operator. */
  private noteSuccess(): void {
    const { token, serial, budget } = this.parts;
    const { info } = token;
    this.written(() => {
      if (info !== undefined) serial.remember(info.serial);
    });
    this.written(() => {
      if (info === undefined) budget.giveBack();
      else budget.restore(info);
    });
  }

  /** The token confirmed the PIN for one use, or was not asked. */
  giveBackBudget(): void {
    this.written(() => {
      this.parts.budget.giveBack();
    });
  }

  private written(write: () => void): void {
    const { token, log } = this.parts;
    try {
      write();
    } catch (error) {
      log.error('the state directory is not as it should be: the next login will need an operator', {
        token: token.name,
        error,
      });
    }
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
}

/** Throws PIN_BLOCKED where a wrong PIN would cost too much for a login that nobody asked for. */
export function requireAutomaticLogin(flags: readonly string[]): void {
  const flag = flags.find((each) => forbidding.has(each));
  if (flag !== undefined) throw new AgentError('PIN_BLOCKED', `no automatic login: the token says ${flag}`);
}

export function codeOf(error: unknown): AgentError['code'] | undefined {
  return error instanceof AgentError ? error.code : undefined;
}

/** What a source's answer says of a login that failed. */
export function refusal(error: unknown): string {
  return codeOf(error) === 'PIN_INCORRECT' ? 'the token refused its PIN' : textOf(error);
}

function textOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}
