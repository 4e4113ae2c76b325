/** check-access: what the rules say to a peer that need not exist. Nothing is signed, and no rate is used up. */
import { algorithms, type AlgorithmEntry, type Params, type Result } from '@keyagent/protocol';
import { explain, type Explanation } from '../policy/explain.js';
import { imaginedPeer } from '../policy/peer.js';
import type { Rule } from '../policy/rule.js';
import { requireUsable } from '../token/served-key.js';
import type { Tokens } from '../token/tokens.js';

/** What fits into a frame, whatever the rules are called. */
const shownMax = 40;

export function checkAccess(
  params: Params<'check-access'>,
  { tokens, rules, overflowUid }: { tokens: Tokens; rules: readonly Rule[]; overflowUid: number },
): Result<'check-access'> {
  const { key } = tokens.find(params.uri, () => true);
  const use: AlgorithmEntry = algorithms[params.alg];
  requireUsable(key, use.mechanism);
  return accessReport(key.uri, explain(imaginedPeer(params, overflowUid), key.attributes, use, rules));
}

/** The same report for what was evaluated elsewhere. */
export function accessReport(uri: string, explanations: readonly Explanation[]): Result<'check-access'> {
  const shown = explanations.slice(-shownMax);
  return {
    uri,
    rules: shown.map(({ rule: { name, purpose }, verdict }) => ({
      name,
      verdict,
      ...(purpose === undefined ? {} : { purpose }),
    })),
    earlier: explanations.length - shown.length,
  };
}
