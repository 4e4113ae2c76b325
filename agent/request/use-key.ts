/**
 * The common way of sign and decrypt: selector -> key -> decision -> token -> audit record. The decision comes before
 * anything touches the token.
 */
import {
  AgentError,
  algorithms,
  type AlgorithmEntry,
  type AlgorithmName,
  type Operation,
} from '@keyagent/protocol';
import { auditUri, type AuditRecord, type AuditUri } from '../audit/record.js';
import { authorise, isStranger, leastPatient, mayKnow } from '../policy/authorise.js';
import type { Use } from '../policy/match.js';
import type { Peer } from '../policy/peer.js';
import { refusal, refusalOfUse } from '../policy/refusal.js';
import type { Rule } from '../policy/rule.js';
import type { Hold } from '../token/availability.js';
import type { LaneName } from '../token/fair-queue.js';
import { TokenFault } from '../token/host-process.js';
import type { PerformOptions } from '../token/operations.js';
import { requireUsable, type ServedKey } from '../token/served-key.js';
import type { Found } from '../token/tokens.js';
import type { Asker, Context } from './context.js';
import { withDeadline } from './deadline.js';
import { Timing } from './timing.js';

export interface KeyUse {
  readonly uri: string;
  readonly alg: AlgorithmName;
  readonly deadline_ms?: number;
  readonly repeat?: boolean;
  /** To be signed; absent where only a digest is known. */
  readonly message?: Uint8Array;
}

/**
 * Finds the key of a URI for an asker; a stranger learns nothing, not even which keys there are.
 * @param hold   what a wait for a token that is being opened goes through; default: as many may wait as come
 */
export function findKey(
  uri: string,
  { peer, cancellation }: Asker,
  context: Context,
  hold: Hold = (_refusal, wait) => wait(),
): Promise<Found> {
  const { tokens, rules, holdMs } = context;
  if (isStranger(peer, rules)) throw refusal(peer, 'use any key');
  const visible = (key: ServedKey): boolean => mayKnow(peer, key.attributes, rules);
  return tokens.findAwaited(uri, visible, cancellation, holdMs, hold);
}

/** Decides, runs `perform` within the deadline, and records the outcome before it is returned or thrown. */
export async function useKey<T>(
  operation: Operation,
  params: KeyUse,
  asker: Asker,
  context: Context,
  perform: (found: Found, rule: Rule, algorithm: AlgorithmEntry, run: PerformOptions) => Promise<T>,
): Promise<T> {
  const { audit, holds } = context;
  const { peer, cancellation } = asker;
  const algorithm: AlgorithmEntry = algorithms[params.alg];
  const timing = new Timing();
  let key: AuditUri | undefined;
  let rule: Rule | undefined;
  const record = (outcome: AuditRecord['outcome'], cause?: AuditRecord['cause']): AuditRecord => ({
    event: operation,
    outcome,
    cause,
    peer,
    key,
    alg: params.alg,
    mechanism: algorithm.mechanism,
    rule: rule?.name,
    queueUs: timing.queueUs,
    tokenUs: timing.tokenUs,
  });
  let result: T;
  try {
    if (algorithm.operation !== operation) {
      throw new AgentError('MECHANISM', `${params.alg} is for ${algorithm.operation}, not for ${operation}`);
    }
    const timeoutMs = Math.min(params.deadline_ms ?? Infinity, context.requestTimeoutMs);
    result = await withDeadline(timeoutMs, cancellation, async () => {
      const hold = holds.under(() => rule ?? leastPatient(peer, context.rules));
      const found = await findKey(params.uri, asker, context, hold);
      key = found.key.uri as AuditUri;
      rule = decide(
        found.key,
        { operation, mechanism: algorithm.mechanism, message: params.message },
        asker,
        context,
      );
      takeRate(rule, asker, context);
      requireUsable(found.key, algorithm.mechanism);
      audit.requireWritable();
      return perform(found, rule, algorithm, {
        lane: laneOf(rule, peer),
        cancellation,
        hold,
        repeated: params.repeat ?? false,
        sent: timing.sent,
      });
    });
  } catch (error) {
    // Nothing left the agent: that it failed is told as it is, whether or not the record can be written.
    key ??= auditUri(params.uri);
    timing.end();
    await audit.note(record(error instanceof AgentError ? error.code : 'INTERNAL', causeOf(error)));
    throw error;
  }
  timing.end();
  await audit.record(record('ok'));
  return result;
}

/** The rule that allows it. */
function decide(key: ServedKey, use: Use, { peer }: Asker, { rules }: Context): Rule {
  const rule = authorise(peer, key.attributes, use, rules);
  if (rule !== undefined) return rule;
  const what = `${use.operation} with ${use.mechanism} and ${key.uri}`;
  throw refusalOfUse(peer, key.attributes, use, rules, what);
}

/** A rule by unit keeps services apart that have the same user. */
function laneOf({ units }: Rule, { unit, uid }: Peer): LaneName {
  return units === undefined ? uid : (unit ?? uid);
}

/** An exhausted rate ends the matter: no later rule takes over. */
function takeRate(rule: Rule, { peer }: Asker, { rates }: Context): void {
  const retryAfterMs = rates.take(rule, peer.uid, performance.now());
  if (retryAfterMs === 0) return;
  const message = `uid ${peer.uid} used up the rate of rule "${rule.name}"; try again in ${retryAfterMs} ms`;
  throw new AgentError('BUSY', message, { retryAfterMs });
}

/** What the token said. */
function causeOf(error: unknown): AuditRecord['cause'] {
  const ckr = error instanceof TokenFault ? error.ckr : undefined;
  return ckr?.startsWith('CKR_') === true ? `CKR_${ckr.slice(4)}` : undefined;
}
