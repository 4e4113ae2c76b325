/**
 * The unlock broker: brings PINs to tokens. Automatic sources when a token opens; operators through the control
 * socket. One login at a time per token; a wrong PIN is said once and never retried.
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
import type { PinSource } from './sources/pin-source.js';

/** What the broker keeps for one token. */
interface Ward {
  readonly token: Token;
  readonly budget: PinBudget;
  readonly retained: RetainedPin;
  /** The last login or lock of this token; the next one waits for it. */
  turn: Promise<unknown>;
  lockTimer: NodeJS.Timeout | undefined;
  readonly answers: Map<SourceName, SourceAnswer>;
}

/** What a source said when it was asked last. */
export interface SourceAnswer {
  readonly source: SourceName;
  readonly result: string;
  /** Milliseconds since 1970. */
  readonly at: number;
}

export interface OperatorUnlock {
  readonly pin?: Uint8Array | undefined;
  readonly source?: SourceName | undefined;
  /** Where the operator's PIN came from, for the record. */
  readonly via?: SourceName | undefined;
  readonly forMs?: number | undefined;
  readonly force?: boolean | undefined;
}

export interface BrokerParts {
  readonly tokens: readonly Token[];
  readonly budget: (token: Token) => PinBudget;
  readonly source: (name: SourceName, token: Token) => PinSource | undefined;
  readonly revocation: Revocation;
  readonly audit: AuditLog;
  readonly log: Log;
}

/** A source that answers in this time or not at all, in milliseconds. */
const sourceTimeoutMs = 30_000;
/** setTimeout takes no more. */
const longestTimerMs = 2 ** 31 - 1;

export class Broker {
  private readonly wards: Map<string, Ward>;

  constructor(private readonly parts: BrokerParts) {
    this.wards = new Map(
      parts.tokens.map((token) => [
        token.name,
        {
          token,
          budget: parts.budget(token),
          retained: new RetainedPin(),
          turn: Promise.resolve(),
          lockTimer: undefined,
          answers: new Map(),
        },
      ]),
    );
    for (const ward of this.wards.values()) {
      ward.token.on('opened', () => {
        void this.inTurn(ward, () => this.unlockAutomatically(ward)).catch((error: unknown) => {
          parts.log.error('automatic unlock failed', { token: ward.token.name, error });
        });
      });
    }
  }

  answers(token: Token): readonly SourceAnswer[] {
    return [...this.ward(token).answers.values()];
  }

  /** Resolves to true if the token was unlocked already: then the PIN was not even looked at. */
  unlock(token: Token, request: OperatorUnlock, peer: Peer): Promise<boolean> {
    const ward = this.ward(token);
    return this.inTurn(ward, async () => {
      if (token.state === 'unlocked' && !token.hasLoggedOutHost) return true;
      const source = request.source ?? request.via ?? 'prompt';
      const pin = request.source === undefined ? request.pin : await this.ask(ward, request.source);
      try {
        await this.operatorLogin(ward, source, pin, request.force ?? false);
        this.parts.audit.record({ event: 'unlock', peer, token: token.name, source, outcome: 'ok' });
      } catch (error) {
        const outcome = error instanceof AgentError ? error.code : 'INTERNAL';
        this.parts.audit.record({ event: 'unlock', peer, token: token.name, source, outcome });
        throw error;
      } finally {
        pin?.fill(0);
      }
      this.lockLater(ward, request.forMs ?? token.config.lockAfterMs);
      return false;
    });
  }

  /** Ends the login and disables the automatic sources until an operator unlocks. */
  async lock(tokens: readonly Token[], peer: Peer): Promise<void> {
    for (const token of tokens) await this.endLogin(this.ward(token), 'an operator locked it');
    this.parts.revocation.add(tokens.map(({ name }) => name));
    for (const { name } of tokens) this.parts.audit.record({ event: 'lock', peer, token: name, outcome: 'ok' });
  }

  /** Wipes what is kept; the tokens themselves are stopped by their owner. */
  stop(): void {
    for (const ward of this.wards.values()) {
      clearTimeout(ward.lockTimer);
      ward.retained.wipe();
    }
  }

  private ward(token: Token): Ward {
    const ward = this.wards.get(token.name);
    if (ward === undefined) throw new Error(`no ward for token ${token.name}`);
    return ward;
  }

  private inTurn<T>(ward: Ward, work: () => Promise<T>): Promise<T> {
    const run = ward.turn.then(work);
    ward.turn = run.catch(() => undefined);
    return run;
  }

  private async unlockAutomatically(ward: Ward): Promise<void> {
    const { token } = ward;
    if (!token.hasLoggedOutHost) return;
    if (this.parts.revocation.has(token.name)) {
      token.setState('locked', `an operator locked it; run "keyagent unlock ${token.name}"`);
      return;
    }
    const kept = ward.retained.copy();
    const attempts = kept === undefined ? token.config.unlock : [kept.source];
    for (const source of attempts) {
      if (source === 'prompt') {
        this.note(ward, source, 'waits for an operator');
        break;
      }
      try {
        await this.automaticLogin(ward, source, kept?.pin);
        return;
      } catch (error) {
        // Only a source that had nothing to give lets the next one try.
        if (!(error instanceof AgentError && error.code === 'SOURCE_FAILED')) {
          this.loginFailed(ward, error);
          return;
        }
      }
    }
    if (!token.hasLoggedInHost) token.setState('locked', `run "keyagent unlock ${token.name}"`);
  }

  private async automaticLogin(ward: Ward, source: SourceName, kept: Buffer | undefined): Promise<void> {
    const { token, budget } = ward;
    budget.requireSource(source);
    const pin = kept ?? (await this.ask(ward, source));
    try {
      const info = await token.refreshInfo();
      const forbidding = info.flags.find((flag) => forbidsAutomaticLogin.has(flag));
      if (forbidding !== undefined) {
        throw new AgentError('PIN_BLOCKED', `no automatic login: the token says ${forbidding}`);
      }
      budget.spend(source, info.serial, pin);
      token.setState('unlocking', `logging in with the PIN from ${source}`);
      await token.login(pin);
      this.loggedIn(ward, source, pin);
      this.parts.audit.record({ event: 'unlock', token: token.name, source, outcome: 'ok' });
      if (kept === undefined) this.lockLater(ward, token.config.lockAfterMs);
    } catch (error) {
      const outcome = error instanceof AgentError ? error.code : 'INTERNAL';
      this.note(ward, source, outcome === 'PIN_INCORRECT' ? 'the token refused its PIN' : textOf(error));
      this.parts.audit.record({ event: 'unlock', token: token.name, source, outcome });
      throw error;
    } finally {
      pin.fill(0);
    }
  }

  private async operatorLogin(
    ward: Ward,
    source: SourceName,
    pin: Uint8Array | undefined,
    force: boolean,
  ): Promise<void> {
    const { token } = ward;
    const info = await token.refreshInfo();
    if (pin === undefined && !info.flags.includes('protected-authentication-path')) {
      throw new AgentError('INVALID', `token ${token.name} needs a PIN`);
    }
    if (info.flags.includes('user-pin-locked')) {
      throw new AgentError('PIN_BLOCKED', `the PIN of ${token.name} is locked; its security officer must set a new one`);
    }
    if (info.flags.includes('user-pin-final-try') && !force) {
      throw new AgentError('PIN_BLOCKED', `one wrong PIN now locks ${token.name}; say --force if you are sure`);
    }
    token.setState('unlocking', 'an operator is logging in');
    try {
      await token.login(pin);
    } catch (error) {
      this.loginFailed(ward, error);
      throw error;
    }
    this.loggedIn(ward, source, pin);
    this.parts.revocation.remove(token.name);
  }

  private loggedIn(ward: Ward, source: SourceName, pin: Uint8Array | undefined): void {
    const { token } = ward;
    ward.budget.restore();
    ward.retained.wipe();
    if (token.config.retainPin && pin !== undefined) ward.retained.keep(source, pin);
    this.note(ward, source, 'unlocked the token');
    token.setState('unlocked', `unlocked by ${source}`);
  }

  private loginFailed(ward: Ward, error: unknown): void {
    const { token } = ward;
    const code = error instanceof AgentError ? error.code : undefined;
    // One more host of an unlocked token could not log in: the others go on.
    if (token.hasLoggedInHost) token.setState('unlocked', `with fewer hosts: ${textOf(error)}`);
    else if (code === 'TOKEN_ABSENT') token.setState('absent', textOf(error));
    else if (code === 'PIN_BLOCKED') token.setState('pin-blocked', textOf(error));
    else token.setState('locked', `${textOf(error)}; run "keyagent unlock ${token.name}"`);
    const ckr = error instanceof TokenFault ? error.ckr : undefined;
    this.parts.log.warn('login failed', { token: token.name, error, ...(ckr === undefined ? {} : { ckr }) });
  }

  private async ask(ward: Ward, name: SourceName): Promise<Buffer> {
    const source = this.parts.source(name, ward.token);
    try {
      if (source === undefined) throw new AgentError('SOURCE_FAILED', `this version has no source "${name}"`);
      const pin = await source.pin(AbortSignal.timeout(sourceTimeoutMs));
      this.note(ward, name, 'gave a PIN');
      return pin;
    } catch (error) {
      this.note(ward, name, textOf(error));
      throw error;
    }
  }

  private note(ward: Ward, source: SourceName, result: string): void {
    ward.answers.delete(source);
    ward.answers.set(source, { source, result, at: Date.now() });
    this.parts.log.info(`PIN source: ${result}`, { token: ward.token.name, source });
  }

  private lockLater(ward: Ward, ms: number | undefined): void {
    clearTimeout(ward.lockTimer);
    if (ms === undefined) return;
    ward.lockTimer = setTimeout(
      () => {
        void this.inTurn(ward, () => this.endLogin(ward, 'its time is over')).catch((error: unknown) => {
          this.parts.log.error('lock failed', { token: ward.token.name, error });
        });
      },
      Math.min(ms, longestTimerMs),
    ).unref();
  }

  private async endLogin(ward: Ward, why: string): Promise<void> {
    clearTimeout(ward.lockTimer);
    ward.retained.wipe();
    await ward.token.lock(`${why}; run "keyagent unlock ${ward.token.name}"`);
  }
}

/** CKF_USER_PIN_COUNT_LOW alone does not forbid: SoftHSM sets it after one failure. */
const forbidsAutomaticLogin: ReadonlySet<string> = new Set([
  'user-pin-final-try',
  'user-pin-locked',
  'user-pin-to-be-changed',
]);

function textOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}
