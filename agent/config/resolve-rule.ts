/** One checked [[rule]] table -> Rule: key pattern and rate parsed, users and groups as numbers. */
import { algorithms, parsePkcs11Pattern, refuseSelectorQuery, type Pkcs11Uri } from '@keyagent/protocol';
import type { Rule } from '../policy/rule.js';
import { mechanismServes } from '../policy/purpose.js';
import { groupId, userId } from './accounts.js';
import type { ConfigText } from './config-text.js';
import type { RuleTable } from './file-schema.js';
import type { KeyPath } from './key-lines.js';
import { overflowId } from './overflow-id.js';
import { parseRate } from './rate.js';

export function resolveRule(text: ConfigText, rule: RuleTable, index: number): Rule {
  const at = ['rule', index] as const;
  if ([rule.users, rule.groups, rule.units, rule.exe].every((who) => who === undefined)) {
    text.fail(at, 'says nobody; add users, groups, units or exe = [...]');
  }
  refuseNeverMatching(text, rule, at);
  refuseOtherSalt(text, rule, at);
  return {
    name: rule.name ?? `rule ${index + 1}`,
    keys: keyPattern(text, [...at, 'keys'], rule.keys),
    uids: rule.users?.map((user) => resolveUser(text, [...at, 'users'], user)),
    gids: rule.groups?.map((group) => resolveMembers(text, [...at, 'groups'], group)),
    units: rule.units,
    exes: rule.exe,
    operations: rule.operations,
    mechanisms: rule.mechanisms,
    purpose: rule.purpose,
    rate: rule.rate === undefined ? undefined : parseRate(rule.rate),
    holdMax: rule.hold_max,
    pssSaltLength: rule.pss_salt_length,
  };
}

/** @param group name or number */
export function resolveGroup(text: ConfigText, at: KeyPath, group: string | number): number {
  if (typeof group === 'number') return group;
  return lookUp(text, at, 'group', group, groupId);
}

function resolveUser(text: ConfigText, at: KeyPath, user: string | number): number {
  const uid = typeof user === 'number' ? user : lookUp(text, at, 'user', user, userId);
  return refuseOverflow(text, at, 'user', uid);
}

function resolveMembers(text: ConfigText, at: KeyPath, group: string | number): number {
  return refuseOverflow(text, at, 'group', resolveGroup(text, at, group));
}

/** Whoever the kernel cannot name in this user namespace arrives under this id: to name it is to name strangers. */
function refuseOverflow(text: ConfigText, at: KeyPath, what: 'user' | 'group', id: number): number {
  if (id !== overflowId(what)) return id;
  return text.fail(at, `${what} ${id} stands for everybody without an id here; use a ${what} of its own`);
}

function lookUp(
  text: ConfigText,
  at: KeyPath,
  what: 'user' | 'group',
  name: string,
  idOf: (name: string) => number | undefined,
): number {
  let id: number | undefined;
  try {
    id = idOf(name);
  } catch (cause) {
    return text.failFrom(at, cause);
  }
  return id ?? text.fail(at, `there is no ${what} "${name}" on this system; create it or correct the name`);
}

function keyPattern(text: ConfigText, at: KeyPath, value: string): Pkcs11Uri {
  try {
    const pattern = parsePkcs11Pattern(value);
    refuseSelectorQuery(pattern);
    return pattern;
  } catch (cause) {
    return text.failFrom(at, cause);
  }
}

/** A rule that names only what it cannot give looks like a right and gives none. */
function refuseNeverMatching(
  text: ConfigText,
  { operations, mechanisms, purpose }: RuleTable,
  at: KeyPath,
): void {
  const possible = Object.values(algorithms).filter(
    ({ operation }) => operations?.includes(operation) ?? true,
  );
  const named = possible.filter(({ mechanism }) => mechanisms?.includes(mechanism) ?? true);
  if (named.length === 0) {
    const what = operations?.join(' or ') ?? '';
    text.fail([...at, 'mechanisms'], `none of them can ${what}; the rule would never match`);
  }
  if (purpose === undefined) return;
  if (!named.some(({ mechanism }) => mechanismServes(purpose, mechanism, mechanisms))) {
    const advice =
      purpose === 'tls-server' && operations?.includes('decrypt') === true
        ? 'decrypting for TLS needs mechanisms = ["rsa-pkcs1-tls"]'
        : 'TLS does not use what the rule allows';
    text.fail([...at, 'purpose'], `${advice}; the rule would never match`);
  }
}

/** RFC 8446 4.2.3: TLS fixes the salt. */
function refuseOtherSalt(text: ConfigText, { purpose, pss_salt_length: salt }: RuleTable, at: KeyPath): void {
  if (purpose !== undefined && salt !== undefined)
    text.fail([...at, 'pss_salt_length'], `TLS fixes the salt; remove it, or purpose = "${purpose}"`);
}
