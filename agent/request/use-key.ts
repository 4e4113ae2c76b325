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
export interface Task<O extends Operation, P extends UseParams, R> {
  readonly operation: O;
  /** What the token is to do; asked once that is allowed. @throws AgentError INVALID */
  readonly params: (asked: P, rule: Rule, algorithm: AlgorithmEntry) => PerformParams<O>;
  /** What it did -> the reply. */
  readonly result: (done: HostResult<O>, asked: P, algorithm: AlgorithmEntry) => R;
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
export async function useKey<O extends Operation, P extends UseParams, R>(
  task: Task<O, P, R>,
  params: P,
  asker: Asker,
  context: Context,
): Promise<R> {
  const use = new KeyUse(task, params, asker, context);
  let result: R;
  try {
    result = task.result(await use.perform(), params, use.algorithm);
  } catch (error) {
    // Nothing left the agent: that it failed is told as it is, whether or not the record can be written.
    await context.audit.note(
      use.record(error instanceof AgentError ? error.code : 'INTERNAL', causeOf(error)),
    );
    throw error;
  }
  await context.audit.record(use.record('ok'));
  return result;
}

/** One request, and what is known of it so far. */
class KeyUse<O extends Operation, P extends UseParams, R> implements PerformOptions {
  readonly algorithm: AlgorithmEntry;
  readonly cancellation: Cancellation;
  readonly repeated: boolean;
  lane: LaneName;
  private readonly timing = new Timing();
  private key: ServedKey | undefined;
  private rule: Rule | undefined;

  constructor(
    private readonly task: Task<O, P, R>,
    private readonly params: P,
    private readonly asker: Asker,
    private readonly context: Context,
  ) {
    this.algorithm = algorithms[params.alg];
    this.cancellation = asker.cancellation;
    this.repeated = params.repeat ?? false;
    this.lane = asker.peer.uid;
  }

  perform(): Promise<HostResult<O>> {
    const { alg, deadline_ms: deadlineMs = Infinity } = this.params;
    const { operation } = this.task;
    if (this.algorithm.operation !== operation) {
      throw new AgentError('MECHANISM', `${alg} is for ${this.algorithm.operation}, not for ${operation}`);
    }
    const timeoutMs = Math.min(deadlineMs, this.context.requestTimeoutMs);
    return withDeadline(timeoutMs, this.cancellation, () => {
      const found = findKey(this.params.uri, this.asker, this.context, this.hold);
      return found instanceof Promise
        ? found.then((awaited) => this.performWith(awaited))
        : this.performWith(found);
    });
  }

  private performWith({ token, key }: Found): Promise<HostResult<O>> {
    const { task, params, asker, context } = this;
    const { mechanism } = this.algorithm;
    this.key = key;
    const use = { operation: task.operation, mechanism, message: params.message };
    const rule = decide(key, use, asker, context);
    this.rule = rule;
    this.lane = laneOf(rule, asker.peer);
    takeRate(rule, asker, context);
    requireUsable(key, mechanism);
    context.audit.requireWritable();
    return token.operations.perform(task.operation, key, task.params(params, rule, this.algorithm), this);
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
      event: this.task.operation,
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
