/**
 * The one place that decides. Pure: (peer, key, operation, mechanism, rules) -> decision; default deny.
 * A rule matches when each of its fields matches; the first that matches allows.
 */
import { matchesPkcs11Uri, type Mechanism, type Operation, type Pkcs11Attributes } from '@keyagent/protocol';
import type { Peer } from './peer.js';
import type { Rule } from './rule.js';

/** The kernel's default for /proc/sys/kernel/overflowuid. */
const overflowUid = 65534;

export interface Use {
  readonly operation: Operation;
  readonly mechanism: Mechanism;
}

/** The rule that allows this use, or undefined: denied. No right is implied, for root either. */
export function authorise(
  peer: Peer,
  key: Pkcs11Attributes,
  use: Use,
  rules: readonly Rule[],
): Rule | undefined {
  return rules.find((rule) => namesPeer(rule, peer) && namesUse(rule, use) && matchesPkcs11Uri(rule.keys, key));
}

/** Public data of a key: for uid 0, so that a server started by root loads its key, and for whom a rule names. */
export function mayKnow(peer: Peer, key: Pkcs11Attributes, rules: readonly Rule[]): boolean {
  return peer.uid === 0 || rules.some((rule) => namesPeer(rule, peer) && matchesPkcs11Uri(rule.keys, key));
}

/** True for a peer that no rule names for any key, and that is not root: it learns nothing. */
export function isStranger(peer: Peer, rules: readonly Rule[]): boolean {
  return peer.uid !== 0 && !rules.some((rule) => namesPeer(rule, peer));
}

function namesPeer(rule: Rule, peer: Peer): boolean {
  // Whoever the agent's user namespace cannot name arrives as the overflow uid: it is nobody in particular.
  if (peer.uid === overflowUid) return false;
  if (rule.uids === undefined && rule.gids === undefined) return false;
  if (rule.uids !== undefined && !rule.uids.includes(peer.uid)) return false;
  return rule.gids === undefined || rule.gids.some((gid) => gid === peer.gid || peer.groups.includes(gid));
}

function namesUse(rule: Rule, use: Use): boolean {
  if (rule.operations !== undefined && !rule.operations.includes(use.operation)) return false;
  return rule.mechanisms === undefined || rule.mechanisms.includes(use.mechanism);
}
