/** One token with what unlocks it. */
import type { AuditLog } from '../audit/audit-log.js';
import type { TokenConfig } from '../config/config.js';
import type { Log } from '../log.js';
import { KeyCache } from '../token/key-cache.js';
import { Token, type TokenLimits } from '../token/token.js';
import { KnownSerial } from './known-serial.js';
import { PinBudget } from './pin-budget.js';
import type { Revocation } from './revocation.js';
import { SourceAnswers } from './source-answers.js';
import { pinSource } from './sources/pin-sources.js';
import { TokenUnlocker } from './token-unlocker.js';

export interface Ward {
  readonly token: Token;
  readonly unlocker: TokenUnlocker;
  readonly answers: SourceAnswers;
}

export interface WardParts {
  readonly stateDir: string;
  readonly limits: TokenLimits;
  readonly revocation: Revocation;
  readonly audit: AuditLog;
  readonly log: Log;
  /** Called at each lock of a token: what was brought to unlock it so far counts no more. */
  readonly onLock: (token: Token) => void;
}

/** Nothing starts before the token is opened. */
export function makeWard(config: TokenConfig, parts: WardParts): Ward {
  const { stateDir, limits, revocation, audit, log } = parts;
  const { name } = config;
  const token = new Token(config, limits, new KeyCache(stateDir, name), log);
  const answers = new SourceAnswers(name, (source) => pinSource(source, token.config, stateDir), log);
  const budget = new PinBudget(stateDir, name);
  const serial = new KnownSerial(stateDir, name);
  const onLock = (): void => {
    parts.onLock(token);
  };
  const unlocker = new TokenUnlocker({ token, budget, serial, answers, revocation, audit, log, onLock });
  token.on('hostEnded', (ended) => {
    void audit.note({ event: 'host', token: name, outcome: 'TOKEN_ERROR', ended });
  });
  return { token, unlocker, answers };
}
