/** What a refused peer is told: what to change, and nothing about rules that are for others. Pure. */
import { AgentError, type Pkcs11Attributes } from '@keyagent/protocol';
import { explain } from './explain.js';
import type { Use } from './match.js';
import type { Peer } from './peer.js';
import type { Rule } from './rule.js';

/** @param what for example "sign with ecdsa and pkcs11:object=www" */
export function refusal(peer: Peer, what: string): AgentError {
  return new AgentError(
    'DENIED',
    `no rule allows uid ${peer.uid} to ${what}; add a [[rule]] to the configuration`,
  );
}

/** As refusal, for a use of a known key: a rule that is for this peer and another message says so. */
export function refusalOfUse(
  peer: Peer,
  key: Pkcs11Attributes,
  use: Use,
  rules: readonly Rule[],
  what: string,
): AgentError {
  const near = explain(peer, key, use, rules).find(({ verdict }) => verdict === 'purpose-only')?.rule;
  if (near === undefined) return refusal(peer, what);
  const got = use.message === undefined ? 'a digest hides what it signs' : 'this is no such message';
  return new AgentError(
    'DENIED',
    `rule "${near.name}" lets uid ${peer.uid} sign for ${near.purpose ?? ''} only, and ${got}; no other rule allows it`,
  );
}
