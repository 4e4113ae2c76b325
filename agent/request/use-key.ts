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
import type { Cancellation } from '../cancellation.js';
import type { HostResult } from '../host/host-protocol.js';
import { authorise, isStranger, leastPatient, mayKnow } from '../policy/authorise.js';
import type { Use } from '../policy/match.js';
import type { Peer } from '../policy/peer.js';
import { refusal, refusalOfUse } from '../policy/refusal.js';
import type { Rule } from '../policy/rule.js';
import type { Hold } from '../token/availability.js';
import type { LaneName } from '../token/fair-queue.js';
import { TokenFault } from '../token/host-process.js';
import type { PerformOptions, PerformParams } from '../token/operations.js';
import { requireUsable, type ServedKey } from '../token/served-key.js';
import type { Found } from '../token/tokens.js';
import type { Asker, Context } from './context.js';
import { withDeadline } from './deadline.js';
import { Timing } from './timing.js';

export interface UseParams {
  readonly uri: string;
  readonly alg: AlgorithmName;
  readonly deadline_ms?: number;
  readonly repeat?: boolean;
  /** To be signed; absent where only a digest is known. */
  readonly message?: Uint8Array;
}

/** What is sign's own, and what is decrypt's. */
export interface Task<O extends Operation, T> {
  /** Called once it is allowed. @throws AgentError INVALID */
  readonly params: (rule: Rule, algorithm: AlgorithmEntry) => PerformParams<O>;
  /** What the token did -> the reply. */
  readonly result: (done: HostResult<O>, algorithm: AlgorithmEntry) => T;
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
): Found | Promise<Found> {
  const { tokens, rules, holdMs } = context;
  if (isStranger(peer, rules)) throw refusal(peer, 'use any key');
  const visible = (key: ServedKey): boolean => mayKnow(peer, key.attributes, rules);
  return tokens.findAwaited(uri, visible, cancellation, holdMs, hold);
}

/** Decides, has the token do it within the deadline, and records the outcome before it is returned or thrown. */
export async function useKey<O extends Operation, T>(
  operation: O,
  params: UseParams,
  asker: Asker,
  context: Context,
  task: Task<O, T>,
): Promise<T> {
  const use = new KeyUse(operation, params, asker, context);
  let result: T;
  try {
    result = task.result(await use.perform(task), use.algorithm);
  } catch (error) {
    // Nothing left the agent: that it failed is told as it is, whether or not the record can be written.
    await context.audit.note(use.record(error instanceof AgentError ? error.code : 'INTERNAL', causeOf(error)));
    throw error;
  }
  await context.audit.record(use.record('ok'));
  return result;
}

/** One request, and what is known of it so far. Nothing here waits unless the token does: most requests make one promise. */
class KeyUse<O extends Operation> implements PerformOptions {
  readonly algorithm: AlgorithmEntry;
  readonly cancellation: Cancellation;
  readonly repeated: boolean;
  lane: LaneName;
  private readonly timing = new Timing();
  private key: ServedKey | undefined;
  private rule: Rule | undefined;

  constructor(
    private readonly operation: O,
    private readonly params: UseParams,
    private readonly asker: Asker,
    private readonly context: Context,
  ) {
    this.algorithm = algorithms[params.alg];
    this.cancellation = asker.cancellation;
    this.repeated = params.repeat ?? false;
    this.lane = asker.peer.uid;
  }

  perform<T>(task: Task<O, T>): Promise<HostResult<O>> {
    const { alg, deadline_ms: deadlineMs = Infinity } = this.params;
    if (this.algorithm.operation !== this.operation) {
      throw new AgentError(
        'MECHANISM',
        `${alg} is for ${this.algorithm.operation}, not for ${this.operation}`,
      );
    }
    const timeoutMs = Math.min(deadlineMs, this.context.requestTimeoutMs);
    return withDeadline(timeoutMs, this.cancellation, () => {
      const found = findKey(this.params.uri, this.asker, this.context, this.hold);
      return found instanceof Promise
        ? found.then((key) => this.performWith(key, task))
        : this.performWith(found, task);
    });
  }

  private performWith<T>({ token, key }: Found, task: Task<O, T>): Promise<HostResult<O>> {
    const { asker, context } = this;
    const { mechanism } = this.algorithm;
    this.key = key;
    const use = { operation: this.operation, mechanism, message: this.params.message };
    const rule = decide(key, use, asker, context);
    this.rule = rule;
    this.lane = laneOf(rule, asker.peer);
    takeRate(rule, asker, context);
    requireUsable(key, mechanism);
    context.audit.requireWritable();
    return token.perform(this.operation, key, task.params(rule, this.algorithm), this);
  }

  /** Before the key is known, the rule under which the fewest wait counts. */
  readonly hold: Hold = (refused, wait) => {
    const { holds, rules } = this.context;
    return holds.hold(this.rule ?? leastPatient(this.asker.peer, rules), refused, wait);
  };

  sent(): void {
    this.timing.sent();
  }

  /** Of what becomes of it now. */
  record(outcome: AuditRecord['outcome'], cause?: AuditRecord['cause']): AuditRecord {
    this.timing.end();
    return {
      event: this.operation,
      outcome,
      cause,
      peer: this.asker.peer,
      key: this.key === undefined ? auditUri(this.params.uri) : (this.key.uri as AuditUri),
      alg: this.params.alg,
      mechanism: this.algorithm.mechanism,
      rule: this.rule?.name,
      queueUs: this.timing.queueUs,
      tokenUs: this.timing.tokenUs,
    };
  }
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
