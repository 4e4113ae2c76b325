/** One checked [[token]] table -> TokenConfig: names unique, URI parsed, defaults that depend on the name. */
import path from 'node:path';
import { parsePkcs11Uri, refuseSelectorQuery, type Pkcs11Uri } from '@keyagent/protocol';
import type { ConfigText } from './config-text.js';
import type { TokenConfig } from './config.js';
import { parseDuration } from './duration.js';
import type { TokenTable } from './file-schema.js';

/** Path attributes of RFC 7512 2.3 that name an object, not a token. */
const objectAttributes = ['object', 'type', 'id'];

export function resolveToken(
  text: ConfigText,
  token: TokenTable,
  index: number,
  all: readonly TokenTable[],
  stateDir: string,
): TokenConfig {
  const first = all.findIndex(({ name }) => name === token.name);
  if (first < index)
    text.fail(['token', index, 'name'], `token ${first + 1} has this name already; choose another`);
  return {
    name: token.name,
    module: token.module,
    uri: tokenUri(text, index, token.uri),
    unlock: token.unlock,
    sessions: token.sessions,
    hosts: token.hosts,
    env: token.env,
    onRemoval: token.on_removal,
    retainPin: token.retain_pin,
    lockAfterMs: token.lock_after === undefined ? undefined : parseDuration(token.lock_after),
    keyringService: token.keyring_service,
    keyringAccount: token.keyring_account ?? token.name,
    credential: token.credential ?? `keyagent.${token.name}.pin`,
    clevisFile: token.clevis ?? path.join(stateDir, `${token.name}.pin.jwe`),
  };
}

function tokenUri(text: ConfigText, index: number, value: string): Pkcs11Uri {
  const at = ['token', index, 'uri'];
  try {
    const uri = parsePkcs11Uri(value);
    refuseSelectorQuery(uri);
    const stray = objectAttributes.find((attribute) => uri.path.has(attribute));
    if (stray !== undefined) text.fail(at, `names a token, so it cannot have ${stray}=; rules choose keys`);
    return uri;
  } catch (cause) {
    return text.failFrom(at, cause);
  }
}
