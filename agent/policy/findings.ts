/**
 * What is odd about a set of rules that is well-formed: rules that never decide, keys that no rule mentions, keys that
 * may both sign and decrypt. Pure. Input: rules, and the keys that are known. Output: one sentence each.
 */
import {
  matchesPkcs11Uri,
  mechanismsOf,
  type KeyAlgorithm,
  type Operation,
  type Pkcs11Attributes,
  type Pkcs11Uri,
} from '@keyagent/protocol';
import { mechanismServes } from './purpose.js';
import type { Rule } from './rule.js';

export interface KnownKey {
  readonly uri: string;
  readonly attributes: Pkcs11Attributes;
  readonly algorithm: KeyAlgorithm;
}

export function findings(rules: readonly Rule[], keys: readonly KnownKey[]): string[] {
  return [...unreachable(rules), ...bothWays(rules, keys), ...unmentioned(rules, keys)];
}

function unreachable(rules: readonly Rule[]): string[] {
  return rules.flatMap((rule, i) => {
    const earlier = rules.slice(0, i).find((other) => covers(other, rule));
    return earlier === undefined
      ? []
      : [`rule "${rule.name}" never decides: "${earlier.name}" before it matches whatever it would match`];
  });
}

/** Whether `wide` matches whenever `narrow` does. */
function covers(wide: Rule, narrow: Rule): boolean {
  return (
    coversList(wide.uids, narrow.uids) &&
    coversList(wide.gids, narrow.gids) &&
    coversList(wide.units, narrow.units) &&
    coversList(wide.exes, narrow.exes) &&
    coversList(wide.operations, narrow.operations) &&
    coversList(wide.mechanisms, narrow.mechanisms) &&
    coversPurpose(wide, narrow) &&
    coversKeys(wide.keys, narrow.keys)
  );
}

function coversPurpose(wide: Rule, narrow: Rule): boolean {
  if (wide.purpose === undefined) return true;
  // What must be named is not covered by a rule that names nothing.
  const named = narrow.mechanisms ?? [];
  const { purpose } = wide;
  return (
    purpose === narrow.purpose &&
    named.every((mechanism) => mechanismServes(purpose, mechanism, wide.mechanisms))
  );
}

function coversList<T>(wide: readonly T[] | undefined, narrow: readonly T[] | undefined): boolean {
  return wide === undefined || (narrow?.every((item) => wide.includes(item)) ?? false);
}

function coversKeys(wide: Pkcs11Uri, narrow: Pkcs11Uri): boolean {
  return [...wide.path].every(([name, value]) => {
    const other = narrow.path.get(name);
    if (other === undefined) return false;
    if (wide.prefixes.has(name)) return other.startsWith(value);
    return other === value && !narrow.prefixes.has(name);
  });
}

/** A key that decrypts for some and signs for others lets the ones do what was meant for the others. */
function bothWays(rules: readonly Rule[], keys: readonly KnownKey[]): string[] {
  const alone = rules
    .filter((rule) => lets(rule, 'sign') && lets(rule, 'decrypt'))
    .map((rule) => `rule "${rule.name}" lets the same key sign and decrypt; give it operations = ["sign"]`);
  const together = keys.flatMap(({ uri, attributes, algorithm }) => {
    if (!mechanismsOf(algorithm).includes('rsa-oaep')) return [];
    const about = rules.filter((rule) => mayMatch(rule.keys, attributes));
    const signs = about.find((rule) => lets(rule, 'sign'));
    const decrypts = about.find((rule) => lets(rule, 'decrypt'));
    if (signs === undefined || decrypts === undefined || signs === decrypts) return [];
    return [`key ${uri} may sign ("${signs.name}") and decrypt ("${decrypts.name}"); use a key for each`];
  });
  return [...alone, ...together];
}

const mechanismsFor = {
  sign: ['rsa-pkcs1', 'rsa-pss', 'ecdsa', 'ed25519'],
  decrypt: ['rsa-oaep', 'rsa-pkcs1-tls'],
} as const;

function lets({ operations, mechanisms, purpose }: Rule, operation: Operation): boolean {
  if (operations !== undefined && !operations.includes(operation)) return false;
  return mechanismsFor[operation].some(
    (mechanism) =>
      (mechanisms?.includes(mechanism) ?? true) &&
      (purpose === undefined || mechanismServes(purpose, mechanism, mechanisms)),
  );
}

function unmentioned(rules: readonly Rule[], keys: readonly KnownKey[]): string[] {
  return keys
    .filter(({ attributes }) => !rules.some((rule) => mayMatch(rule.keys, attributes)))
    .map(({ uri }) => `key ${uri} is mentioned by no rule: nobody can use it`);
}

/** Without a token at hand only these are known: a pattern may match what it says of others. */
const knownNames = ['token', 'serial', 'object', 'id', 'type'] as const;

function mayMatch(pattern: Pkcs11Uri, attributes: Pkcs11Attributes): boolean {
  const names = knownNames.filter((name) => attributes[name] !== undefined);
  const path = new Map([...pattern.path].filter(([name]) => names.some((known) => known === name)));
  return matchesPkcs11Uri({ ...pattern, path }, attributes);
}
