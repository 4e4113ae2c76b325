/**
 * Brings PINs to one token: from its automatic sources when it opens, from an operator when one comes. One login at a
 * time; a wrong PIN is said once and never retried.
 */
import type { SourceName } from '@keyagent/protocol';
import type { AuditRecord } from '../audit/record.js';
import type { Peer } from '../policy/peer.js';
import { AutomaticUnlock } from './automatic-unlock.js';
import { Logins, refusal, type LoginParts } from './logins.js';
import { requireLoginPossible } from './login-possible.js';
import type { Revocation } from './revocation.js';
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

export type UnlockerParts = LoginParts & { readonly revocation: Revocation };

export class TokenUnlocker {
  private readonly logins: Logins;
  private readonly automatic: AutomaticUnlock;
  /** The last login or lock; the next one waits for it. */
  private turn: Promise<unknown> = Promise.resolve();

  constructor(private readonly parts: UnlockerParts) {
    const { token } = parts;
    this.logins = new Logins(parts);
    this.automatic = new AutomaticUnlock(
      parts,
      this.logins,
      (work) => this.inTurn(work),
      () => {
        this.endAfter(token.config.lockAfterMs);
      },
    );
    token.on('opened', () => {
      const { unlock } = token.config;
      const asks = unlock[0] !== 'prompt' || this.logins.retained.isKept;
      // Requests that come meanwhile are held: a server that starts with the machine finds its key.
      if (token.state === 'locked' && asks && this.automatic.isAllowed) {
        token.setState('unlocking', 'asking its PIN sources');
      }
      this.automatic.start(unlock);
    });
    token.on('left', () => {
      this.revoke('it was removed').catch((error: unknown) => {
        parts.log.error('the removal cannot be remembered', { token: token.name, error });
      });
    });
  }

  /** Resolves to true if the token was unlocked already: then the PIN was not even looked at. */
  unlock(request: OperatorUnlock, peer: Peer): Promise<boolean> {
    const { token } = this.parts;
    const { locks } = this.logins;
    if (request.pin !== undefined) this.automatic.giveWay('an operator came first');
    return this.inTurn(async () => {
      const nothingGiven = request.pin === undefined && request.source === undefined;
      if (token.state === 'unlocked' && (nothingGiven || !token.hasLoggedOutHost)) return true;
      const source = request.source ?? request.via ?? 'prompt';
      try {
        await this.operatorUnlock(source, request, locks);
      } catch (error) {
        await this.logins.record(source, error, peer, request.cards);
        throw error;
      }
      this.endAfter(request.forMs ?? token.config.lockAfterMs);
      await this.logins.record(source, undefined, peer, request.cards);
      return false;
    });
  }

  /** Ends the login, and every one that was asked for so far. */
  async lock(why: string): Promise<void> {
    this.automatic.stop();
    this.automatic.giveWay(why);
    await this.logins.end(why);
    this.automatic.awaitOperator();
  }

  /** What `keyagent lock` does, without an operator: also after a restart only one of them unlocks. */
  private async revoke(why: string): Promise<void> {
    const { token, revocation, audit } = this.parts;
    this.logins.endedBecause = why;
    try {
      revocation.add([token.name]);
    } finally {
      await this.lock(why);
      await audit.note({ event: 'lock', token: token.name, outcome: 'ok' });
    }
  }

  /** No login that was asked for so far stands any more, and nothing is kept for another. */
  stop(): void {
    this.automatic.stop();
    this.logins.stop();
  }

  private inTurn<T>(work: () => Promise<T>): Promise<T> {
    const run = this.turn.then(work);
    this.turn = run.catch(() => undefined);
    return run;
  }

  private endAfter(ms: number | undefined): void {
    this.logins.endAfter(ms, (why) => this.inTurn(() => this.lock(why)));
  }

  private async operatorUnlock(
    source: SourceName,
    { pin: given, source: asked, force = false }: OperatorUnlock,
    locks: number,
  ): Promise<void> {
    const { token, revocation, answers, audit } = this.parts;
    audit.requireWritable();
    const pin = asked === undefined ? given : await answers.ask(asked);
    try {
      await this.requireLoginPossible(pin, force);
      this.logins.requireNotLocked(locks);
      token.setState('unlocking', 'an operator is logging in');
      await this.login(source, pin, locks);
      this.automatic.stop();
      revocation.remove(token.name);
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
      throw error;
    }
  }

  /** What the token itself says against a login, as it is now. */
  private async requireLoginPossible(pin: Uint8Array | undefined, force: boolean): Promise<void> {
    const { token } = this.parts;
    const { flags } = await token.refreshInfo();
    requireLoginPossible(token.name, flags, { pin: pin !== undefined, force });
  }
}
