/**
 * Whether one rule matches, field by field. Pure, apart from what `peer.program` looks up. Decisions and their
 * explanations both come from here, so they cannot differ.
 */
import { matchesPkcs11Uri, type Mechanism, type Operation, type Pkcs11Attributes } from '@keyagent/protocol';
import type { Peer } from './peer.js';
import { mechanismServes, messageServes } from './purpose.js';
import type { Rule, RuleField } from './rule.js';

export interface Use {
  readonly operation: Operation;
  readonly mechanism: Mechanism;
  /** What is to be signed; undefined when only its digest is known, or for decrypt. */
  readonly message?: Uint8Array | undefined;
}

/** The first field that does not match; what costs system calls comes last. */
export function mismatch(rule: Rule, peer: Peer, key: Pkcs11Attributes, use: Use): RuleField | undefined {
  return (
    mismatchOfIds(rule, peer) ??
    mismatchOfUse(rule, key, use) ??
    mismatchOfMessage(rule, use) ??
    mismatchOfProgram(rule, peer)
  );
}

/** The same for a message that fits the rule's purpose, if it has one. */
export function mismatchOfAnyMessage(
  rule: Rule,
  peer: Peer,
  key: Pkcs11Attributes,
  use: Omit<Use, 'message'>,
): RuleField | undefined {
  return mismatchOfIds(rule, peer) ?? mismatchOfUse(rule, key, use) ?? mismatchOfProgram(rule, peer);
}

/** Whether the rule lets anybody at all use the key this way. */
export function allowsSomebody(rule: Rule, key: Pkcs11Attributes, use: Omit<Use, 'message'>): boolean {
  return !isForNobody(rule) && mismatchOfUse(rule, key, use) === undefined;
}

/** The first field that does not name the peer. */
export function mismatchOfPeer(rule: Rule, peer: Peer): RuleField | undefined {
  return mismatchOfIds(rule, peer) ?? mismatchOfProgram(rule, peer);
}

/** A rule that says nobody is for nobody. */
function isForNobody({ uids, gids, units, exes }: Rule): boolean {
  return uids === undefined && gids === undefined && units === undefined && exes === undefined;
}

function mismatchOfIds(rule: Rule, peer: Peer): RuleField | undefined {
  const { uids, gids } = rule;
  if (peer.unmapped === true || isForNobody(rule)) return 'users';
  if (uids !== undefined && !uids.includes(peer.uid)) return 'users';
  if (gids === undefined || gids.some((gid) => gid === peer.gid || peer.groups.includes(gid)))
    return undefined;
  return 'groups';
}

function mismatchOfProgram({ units, exes }: Rule, peer: Peer): RuleField | undefined {
  if (units === undefined && exes === undefined) return undefined;
  const program = peer.program?.();
  if (units !== undefined && (program?.unit === undefined || !units.includes(program.unit))) return 'units';
  if (exes !== undefined && (program === undefined || !exes.some(program.runs))) return 'exe';
  return undefined;
}

function mismatchOfUse(
  { keys, operations, mechanisms, purpose }: Rule,
  key: Pkcs11Attributes,
  { operation, mechanism }: Use,
): RuleField | undefined {
  if (operations !== undefined && !operations.includes(operation)) return 'operations';
  if (mechanisms !== undefined && !mechanisms.includes(mechanism)) return 'mechanisms';
  if (purpose !== undefined && !mechanismServes(purpose, mechanism, mechanisms)) return 'purpose';
  return matchesPkcs11Uri(keys, key) ? undefined : 'keys';
}

function mismatchOfMessage({ purpose }: Rule, { mechanism, message }: Use): RuleField | undefined {
  return purpose === undefined || messageServes(purpose, mechanism, message) ? undefined : 'purpose';
}
