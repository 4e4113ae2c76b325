/** The unlock broker: one unlocker per token, and what concerns several tokens at once. */
import { AgentError } from '@keyagent/protocol';
import type { Peer } from '../policy/peer.js';
import type { Token } from '../token/token.js';
import type { Retirement } from './retirement.js';
import type { Revocation } from './revocation.js';
import type { SourceAnswers } from './source-answers.js';
import type { AuditLog } from '../audit/audit-log.js';
import type { Prompts } from './prompts.js';
import type { OperatorUnlock } from './token-unlocker.js';
import type { Ward } from './ward.js';

export interface BrokerParts {
  readonly revocation: Revocation;
  readonly audit: AuditLog;
  readonly retirement: Retirement;
}

export class Broker {
  constructor(
    private readonly wards: readonly Ward[],
    private readonly parts: BrokerParts,
  ) {}

  answers(token: Token): SourceAnswers {
    return this.ward(token).answers;
  }

  /** When it locks by itself, milliseconds since 1970; undefined: it does not. */
  locksAt(token: Token): number | undefined {
    return this.ward(token).unlocker.locksAt;
  }

  prompts(token: Token): Prompts {
    return this.ward(token).unlocker.prompts;
  }

  /** Resolves to true if the token was unlocked already. */
  unlock(token: Token, request: OperatorUnlock, peer: Peer): Promise<boolean> {
    return this.ward(token).unlocker.unlock(request, peer);
  }

  /**
   * Ends the logins and disables the automatic sources until an operator unlocks. Remembered first, so that no crash
   * and no token that hangs comes in between; if it cannot be, the logins end all the same before that is told.
   */
  async lock(tokens: readonly Token[], peer: Peer): Promise<void> {
    let outcome: 'ok' | 'CONFIGURATION' = 'CONFIGURATION';
    try {
      this.parts.revocation.add(tokens.map(({ name }) => name));
      outcome = 'ok';
    } finally {
      // Of a token that leaves, the old login as well.
      this.parts.retirement.endNow();
      await Promise.all(tokens.map((token) => this.ward(token).unlocker.lock('an operator locked it')));
      await Promise.all(
        tokens.map(({ name }) => this.parts.audit.note({ event: 'lock', peer, token: name, outcome })),
      );
    }
  }

  /**
   * No login stands from here on, and what is kept is wiped; the tokens themselves are stopped by their owner. Settles when
   * the logins that are under way have come to their end, those of tokens that leave too.
   */
  async stop(): Promise<void> {
    await Promise.all([
      ...this.wards.map(({ unlocker }) => unlocker.stop()),
      this.parts.retirement.allEnded(),
    ]);
  }

  private ward(token: Token): Ward {
    const ward = this.wards.find((each) => each.token === token);
    if (ward === undefined) throw new AgentError('NOT_FOUND', `a reload took ${token.name} out of service`);
    return ward;
  }
}
