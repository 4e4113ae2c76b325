/**
 * The one place that decides. Pure: (peer, key, operation, mechanism, message, rules) -> decision; default deny.
 * A rule matches when each of its fields matches; the first that matches allows.
 */
import { matchesPkcs11Uri, type Mechanism, type Operation, type Pkcs11Attributes } from '@keyagent/protocol';
import { allowsSomebody, mismatch, mismatchOfAnyMessage, mismatchOfPeer, type Use } from './match.js';
import type { Peer } from './peer.js';
import type { Rule } from './rule.js';

/** The rule that allows this use, or undefined: denied. No right is implied, for root either. */
export function authorise(
  peer: Peer,
  key: Pkcs11Attributes,
  use: Use,
  rules: readonly Rule[],
): Rule | undefined {
  return rules.find((rule) => mismatch(rule, peer, key, use) === undefined);
}

/** Whether some rule allows the mechanism, for the messages of its purpose at least. */
export function mayUse(
  peer: Peer,
  key: Pkcs11Attributes,
  use: Omit<Use, 'message'>,
  rules: readonly Rule[],
): boolean {
  return rules.some((rule) => mismatchOfAnyMessage(rule, peer, key, use) === undefined);
}

/** Whether some rule lets anybody use the key: if none does, who loads it loads it in vain. */
export function mayBeUsed(key: Pkcs11Attributes, can: readonly Mechanism[], rules: readonly Rule[]): boolean {
  return can.some((mechanism) => {
    const use = { operation: operationOf(mechanism), mechanism };
    return rules.some((rule) => allowsSomebody(rule, key, use));
  });
}

/** What a mechanism is for. */
export function operationOf(mechanism: Mechanism): Operation {
  return mechanism === 'rsa-oaep' || mechanism === 'rsa-pkcs1-tls' ? 'decrypt' : 'sign';
}

/** Public data of a key: for uid 0, so that a server started by root loads its key, and for whom a rule names. */
export function mayKnow(peer: Peer, key: Pkcs11Attributes, rules: readonly Rule[]): boolean {
  if (peer.uid === 0) return true;
  return rules.some((rule) => matchesPkcs11Uri(rule.keys, key) && mismatchOfPeer(rule, peer) === undefined);
}

/** True for a peer that no rule names for any key, and that is not root: it learns nothing. */
export function isStranger(peer: Peer, rules: readonly Rule[]): boolean {
  return peer.uid !== 0 && rules.every((rule) => mismatchOfPeer(rule, peer) !== undefined);
}

/** Of the rules that name a peer the one under which the fewest wait: before the key is known, it counts. */
export function leastPatient(peer: Peer, rules: readonly Rule[]): Rule | undefined {
  return rules
    .filter((rule) => mismatchOfPeer(rule, peer) === undefined)
    .reduce<Rule | undefined>((least, rule) => (patience(rule) < patience(least) ? rule : least), undefined);
}

function patience(rule: Rule | undefined): number {
  return rule?.holdMax ?? Infinity;
}

/** Whether a decision may need to know what runs behind a connection. */
export function asksForPrograms(rules: readonly Rule[]): boolean {
  return rules.some(({ units, exes }) => units !== undefined || exes !== undefined);
}
