/** What a user may sign with: of each key what the rules say, for every mechanism that the key has. */
import {
  algorithmNames,
  algorithms,
  mechanismsOf,
  type AlgorithmName,
  type KeyAlgorithm,
  type Mechanism,
  type Purpose,
} from '@keyagent/protocol';
import { visible } from '../../visible.js';
import type { Access } from '../access.js';
import { note, ok, problem, type Check } from './check.js';

export interface KeyUse {
  readonly uri: string;
  /**
   * `elsewhere`: a rule names a unit or an executable, and nobody said that it is this one. `unseen`: not from here, and
   * the agent tells only root what the rules say of other programs.
   */
  readonly signs: 'yes' | 'no' | 'elsewhere' | 'unseen';
  /** The rule that says so, where one does and is known. */
  readonly rule?: string | undefined;
  readonly mechanism?: Mechanism | undefined;
  readonly purpose?: Purpose | undefined;
}

/** One algorithm for each mechanism that signs: rules know mechanisms only. */
export function signingAlgorithms(key: KeyAlgorithm): AlgorithmName[] {
  // As TLS 1.3 has it, PSS comes before what only TLS 1.2 signs with.
  const ours = mechanismsOf(key).toReversed();
  return ours.flatMap((mechanism) => {
    const name = algorithmNames.find((each) => algorithms[each].mechanism === mechanism);
    return name !== undefined && algorithms[name].operation === 'sign' ? [name] : [];
  });
}

/** @param answers  by algorithm; the first that allows counts, then the first that only lacks the program */
export function useOf(uri: string, answers: readonly (readonly [AlgorithmName, Access])[]): KeyUse {
  const all = answers.flatMap(([alg, { rules }]) =>
    rules.map((rule) => ({ ...rule, mechanism: algorithms[alg].mechanism })),
  );
  const allowing = all.find(({ verdict }) => verdict === 'allows' || verdict === 'purpose-only');
  if (allowing !== undefined) {
    const { name: rule, mechanism, purpose } = allowing;
    return { uri, signs: 'yes', rule, mechanism, purpose };
  }
  // The program is what rules ask for last: all else matches.
  const elsewhere = all.find(({ verdict }) => verdict === 'units' || verdict === 'exe');
  return elsewhere === undefined ? { uri, signs: 'no' } : { uri, signs: 'elsewhere', rule: elsewhere.name };
}

export function ruleChecks(user: string, uses: readonly KeyUse[]): Check[] {
  const name = 'rules';
  if (uses.length === 0)
    return [
      note(
        name,
        `no key is known that ${user} could use`,
        'unlock the token once; keyagent keys lists its keys',
      ),
    ];
  const possible = uses.filter(({ signs }) => signs !== 'no');
  if (possible.length > 0) return possible.map((use) => allowedCheck(user, use));
  const which = uses.length === 1 ? (uses[0]?.uri ?? '') : `any of ${uses.length} keys`;
  const rule = `a [[rule]] with users = ["${user}"], keys and operations = ["sign"]`;
  return [
    problem(
      name,
      'DENIED',
      `no rule lets ${user} sign with ${visible(which)}`,
      `add ${rule} to the configuration, then keyagent reload`,
    ),
  ];
}

/** What somebody who is not root learns of rules that do not allow it from here. */
export function unseenCheck(user: string, which: string): Check {
  return note(
    'rules',
    `no rule lets ${user} sign with ${visible(which)} from here; one for a certain unit or program is shown to root only`,
    'run doctor as root',
  );
}

function allowedCheck(user: string, { uri, signs, rule, purpose }: KeyUse): Check {
  const by = rule === undefined ? '' : ` (rule "${visible(rule)}")`;
  const what = purpose === undefined ? 'sign' : `sign for ${purpose}`;
  if (signs === 'unseen') return unseenCheck(user, uri);
  if (signs === 'yes') return ok('rules', `${user} may ${what} with ${visible(uri)}${by}`);
  return note(
    'rules',
    `${user} may sign with ${visible(uri)} in a certain unit or program only${by}`,
    'keyagent check-access --unit or --exe tells whether it is the right one',
  );
}
