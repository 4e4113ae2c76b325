/** One checked [[rule]] table -> RuleConfig: key pattern parsed, users and groups as numbers. */
import { algorithms, parsePkcs11Pattern, refuseSelectorQuery, type Pkcs11Uri } from '@keyagent/protocol';
import { groupId, userId } from './accounts.js';
import type { ConfigText } from './config-text.js';
import type { RuleConfig } from './config.js';
import type { RuleTable } from './file-schema.js';
import type { KeyPath } from './key-lines.js';

export function resolveRule(text: ConfigText, rule: RuleTable, index: number): RuleConfig {
  const at = ['rule', index] as const;
  if (rule.users === undefined && rule.groups === undefined) {
    text.fail(at, 'says nobody; add users = [...] or groups = [...]');
  }
  refuseNeverMatching(text, rule, at);
  return {
    name: rule.name ?? `rule ${index + 1}`,
    keys: keyPattern(text, [...at, 'keys'], rule.keys),
    uids: rule.users?.map((user) => resolveUser(text, [...at, 'users'], user)),
    gids: rule.groups?.map((group) => resolveGroup(text, [...at, 'groups'], group)),
    operations: rule.operations,
    mechanisms: rule.mechanisms,
    pssSaltLength: rule.pss_salt_length,
  };
}

/** @param group name or number */
export function resolveGroup(text: ConfigText, at: KeyPath, group: string | number): number {
  if (typeof group === 'number') return group;
  return lookUp(text, at, 'group', group, groupId);
}

function resolveUser(text: ConfigText, at: KeyPath, user: string | number): number {
  if (typeof user === 'number') return user;
  return lookUp(text, at, 'user', user, userId);
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

/** Each mechanism belongs to one operation; a rule with only the others looks like a right and gives none. */
function refuseNeverMatching(text: ConfigText, { operations, mechanisms }: RuleTable, at: KeyPath): void {
  if (operations === undefined || mechanisms === undefined) return;
  const possible = Object.values(algorithms).some(
    ({ operation, mechanism }) => operations.includes(operation) && mechanisms.includes(mechanism),
  );
  if (!possible)
    text.fail(
      [...at, 'mechanisms'],
      `none of them can ${operations.join(' or ')}; the rule would never match`,
    );
}
