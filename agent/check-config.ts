/** keyagentd --check-config: what is odd about a configuration that can be loaded. Output: lines for the operator. */
import type { Config } from './config/config.js';
import { knownKeys } from './known-keys.js';
import { findings, type KnownKey } from './policy/findings.js';

/** @returns one line for each finding, then what was checked */
export function checkConfig(config: Config): string[] {
  const { file, tokens, rules } = config;
  const keys = keysIfReadable(config);
  const found = findings(rules, keys ?? []).map((finding) => `${file}: ${finding}`);
  const about = `${tokens.length} tokens, ${rules.length} rules`;
  const known = keys === undefined ? 'keys not readable by this user' : `${keys.length} known keys`;
  const result = found.length === 0 ? 'good' : `can be used; findings: ${found.length}`;
  return [...found, `${file}: ${about}, ${known}: ${result}`];
}

/** The state directory is the agent's own: somebody else may still check the rest. */
function keysIfReadable(config: Config): KnownKey[] | undefined {
  try {
    return knownKeys(config);
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'EACCES') return undefined;
    throw error;
  }
}
