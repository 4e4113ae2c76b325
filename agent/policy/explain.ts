/**
 * Why a use is allowed or denied: what each rule says to it, up to the one that decides. Pure. Made of the same
 * function that decides, for `keyagent check-access` and for the text of a refusal.
 */
import type { Pkcs11Attributes, RuleVerdict } from '@keyagent/protocol';
import { mismatchOfAnyMessage, type Use } from './match.js';
import type { Peer } from './peer.js';
import type { Rule } from './rule.js';

export interface Explanation {
  readonly rule: Rule;
  readonly verdict: RuleVerdict;
}

/** In the order of the rules; ends with the first that allows whatever the message is. */
export function explain(
  peer: Peer,
  key: Pkcs11Attributes,
  use: Omit<Use, 'message'>,
  rules: readonly Rule[],
): Explanation[] {
  const verdicts: Explanation[] = [];
  for (const rule of rules) {
    const field = mismatchOfAnyMessage(rule, peer, key, use);
    const conditional = rule.purpose !== undefined && use.operation === 'sign';
    const verdict = field ?? (conditional ? 'purpose-only' : 'allows');
    verdicts.push({ rule, verdict });
    if (verdict === 'allows') break;
  }
  return verdicts;
}
