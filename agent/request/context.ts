/** What every handler gets: who asks, what there is, and what is allowed. */
import type { AuditLog } from '../audit/audit-log.js';
import type { Cancellation } from '../cancellation.js';
import type { Peer } from '../policy/peer.js';
import type { RateLimits } from '../policy/rate.js';
import type { Rule } from '../policy/rule.js';
import type { Tokens } from '../token/tokens.js';
import type { Holds } from './holds.js';

export interface Context {
  readonly tokens: Tokens;
  readonly rules: readonly Rule[];
  readonly rates: RateLimits;
  readonly holds: Holds;
  readonly audit: AuditLog;
  readonly requestTimeoutMs: number;
  /** The longest wait for a token that is being opened or unlocked, milliseconds. */
  readonly holdMs: number;
  /** keyagent and its version. */
  readonly agent: string;
  readonly isRevoked: () => boolean;
}

export interface Asker {
  readonly peer: Peer;
  readonly cancellation: Cancellation;
}
