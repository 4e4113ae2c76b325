/** check-access without an agent: the rules of the configuration file and the keys that the last unlock left behind. */
import {
  AgentError,
  algorithms,
  matchesPkcs11Uri,
  mechanismsOf,
  parsePkcs11Uri,
  type AlgorithmEntry,
  type Params,
  type Result,
} from '@keyagent/protocol';
import { loadConfig } from '../config/load.js';
import { configFile, type Surroundings } from '../config/locations.js';
import { overflowId } from '../config/overflow-id.js';
import { accessReport } from '../control/check-access.js';
import { knownKeys } from '../known-keys.js';
import { explain } from '../policy/explain.js';
import type { KnownKey } from '../policy/findings.js';
import { imaginedPeer } from '../policy/peer.js';

/**
 * @param option       --config
 * @param unavailable  why the agent was not asked: said if there is nothing else to ask
 */
export function configuredAccess(
  params: Params<'check-access'>,
  option: string | undefined,
  around: Surroundings,
  unavailable: AgentError,
): { result: Result<'check-access'>; file: string } {
  const config = loadConfig(configFile(option, around), around);
  const key = keyOf(params.uri, knownKeys(config), unavailable);
  const use: AlgorithmEntry = algorithms[params.alg];
  if (!mechanismsOf(key.algorithm).includes(use.mechanism)) {
    throw new AgentError('MECHANISM', `${key.uri} is ${key.algorithm}: it cannot do ${params.alg}`);
  }
  const explanations = explain(imaginedPeer(params, overflowId('user')), key.attributes, use, config.rules);
  return { result: accessReport(key.uri, explanations), file: config.file };
}

/** The one that a URI selects. */
export function keyOf(text: string, keys: readonly KnownKey[], unavailable: AgentError): KnownKey {
  const given = parsePkcs11Uri(text);
  // A key goes by the type of any of its objects.
  const uri = { ...given, path: new Map([...given.path].filter(([name]) => name !== 'type')) };
  const matching = keys.filter(({ attributes }) => matchesPkcs11Uri(uri, attributes));
  const [key, ...more] = matching;
  if (key === undefined) throw unavailable;
  if (more.length === 0) return key;
  const candidates = matching.map((each) => each.uri);
  throw new AgentError(
    'AMBIGUOUS',
    `${text} matches more than one key; use one of: ${candidates.join(' ')}`,
    {
      candidates,
    },
  );
}
