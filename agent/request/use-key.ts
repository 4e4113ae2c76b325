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
import { authorise, isStranger, mayKnow } from '../policy/authorise.js';
import type { Rule } from '../policy/rule.js';
import { TokenFault } from '../token/host-process.js';
import { requireUsable, type ServedKey } from '../token/served-key.js';
import type { Found } from '../token/tokens.js';
import type { Asker, Context } from './context.js';
import { withDeadline } from './deadline.js';

export interface KeyUse {
  readonly uri: string;
  readonly alg: AlgorithmName;
  readonly deadline_ms?: number;
}

/** Finds the key of a URI for an asker; a stranger learns nothing, not even which keys there are. */
export function findKey(uri: string, asker: Asker, context: Context): Found {
  const { peer } = asker;
  if (isStranger(peer, context.rules)) throw denied(asker, 'any key');
  const visible = (key: ServedKey): boolean => mayKnow(peer, key.attributes, context.rules);
  const found = context.tokens.find(uri, visible);
  if (!visible(found.key)) throw denied(asker, uri);
  return found;
}

/** Decides, runs `perform` within the deadline, and records the outcome before it is returned or thrown. */
export async function useKey<T>(
  operation: Operation,
  params: KeyUse,
  asker: Asker,
  context: Context,
  perform: (found: Found, rule: Rule, algorithm: AlgorithmEntry, signal: AbortSignal) => Promise<T>,
): Promise<T> {
  const record = { event: operation, peer: asker.peer, alg: params.alg };
  let key = params.uri;
  let rule: Rule | undefined;
  let result: T;
  try {
    const algorithm: AlgorithmEntry = algorithms[params.alg];
    if (algorithm.operation !== operation) {
      throw new AgentError('MECHANISM', `${params.alg} is for ${algorithm.operation}, not for ${operation}`);
    }
    const found = findKey(params.uri, asker, context);
    key = found.key.uri;
    rule = authorise(asker.peer, found.key.attributes, algorithm, context.rules);
    if (rule === undefined) throw denied(asker, `${operation} with ${algorithm.mechanism} and ${key}`);
    requireUsable(found.key, algorithm.mechanism);
    const allowing = rule;
    const timeoutMs = Math.min(params.deadline_ms ?? Infinity, context.requestTimeoutMs);
    result = await withDeadline(timeoutMs, asker.signal, (signal) =>
      perform(found, allowing, algorithm, signal),
    );
  } catch (error) {
    context.audit.record({
      ...record,
      key: auditableUri(key),
      ...outcomeOf(error),
      ...(rule && { rule: rule.name }),
    });
    throw error;
  }
  context.audit.record({ ...record, key, outcome: 'ok', rule: rule.name });
  return result;
}

function denied(asker: Asker, what: string): AgentError {
  return new AgentError(
    'DENIED',
    `no rule allows uid ${String(asker.peer.uid)} ${what}; add a [[rule]] to the configuration`,
  );
}

function outcomeOf(error: unknown): { outcome: AgentError['code']; cause?: string } {
  if (!(error instanceof AgentError)) return { outcome: 'INTERNAL' };
  const cause = error instanceof TokenFault ? error.ckr : undefined;
  return { outcome: error.code, ...(cause === undefined ? {} : { cause }) };
}

/** A selector that was refused may hold a PIN in its query: only the path is recorded. */
function auditableUri(uri: string): string {
  return uri.split('?', 1)[0] ?? '';
}
