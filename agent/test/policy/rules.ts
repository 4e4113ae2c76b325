/** Rules for tests: everything that is not said is absent. */
import { parsePkcs11Pattern } from '@keyagent/protocol';
import type { Rule } from '@keyagent/agent/policy/rule.js';

/** @param fields  `keys` as text */
export function rule({ keys = 'pkcs11:', ...fields }: Partial<Omit<Rule, 'keys'>> & { keys?: string }): Rule {
  return {
    name: 'rule 1',
    keys: parsePkcs11Pattern(keys),
    uids: undefined,
    gids: undefined,
    units: undefined,
    exes: undefined,
    operations: undefined,
    mechanisms: undefined,
    purpose: undefined,
    rate: undefined,
    holdMax: undefined,
    pssSaltLength: undefined,
    ...fields,
  };
}
