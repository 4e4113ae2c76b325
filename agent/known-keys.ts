/**
 * The keys that are known without a token: what the last unlock of each left in the state directory. For programs
 * that judge a configuration; the agent itself asks its tokens.
 */
import { AgentError, formatPkcs11Uri, type Pkcs11Attributes } from '@keyagent/protocol';
import type { Config } from './config/config.js';
import type { KnownKey } from './policy/findings.js';
import { KeyCache, type CachedKeys } from './token/key-cache.js';

/**
 * A token that was never unlocked here has no keys here. Throws the file system's error for a cache that this user may
 * not read, and AgentError CONFIGURATION for one that is broken.
 */
export function knownKeys({ stateDir, tokens }: Config): KnownKey[] {
  return tokens.flatMap(({ name, uri }) => {
    const cached = load(stateDir, name);
    if (cached === undefined) return [];
    return cached.keys.map(({ label, id, algorithm }) => {
      const named = { token: uri.path.get('token'), serial: cached.serial, object: label, id };
      const attributes: Pkcs11Attributes = { ...named, type: 'private' };
      return { uri: formatPkcs11Uri(named), attributes, algorithm };
    });
  });
}

function load(stateDir: string, token: string): CachedKeys | undefined {
  try {
    return new KeyCache(stateDir, token).load();
  } catch (error) {
    if ((error as NodeJS.ErrnoException).syscall !== undefined) throw error;
    const message = `${stateDir}: the cached keys of token ${token} are broken; unlock it once to write them anew`;
    throw new AgentError('CONFIGURATION', message, { cause: error });
  }
}
