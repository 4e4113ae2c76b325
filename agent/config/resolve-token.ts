/** Checked [[token]] and [[card_reader]] tables: names unique, URIs parsed, defaults that depend on the name. */
import path from 'node:path';
import { isDeepStrictEqual } from 'node:util';
import { parsePkcs11Uri, refuseSelectorQuery, type Pkcs11Uri } from '@keyagent/protocol';
import { refuseUnsafeModule } from '../unsafe-file.js';
import type { ConfigText } from './config-text.js';
import type { CardReaderConfig, TokenConfig } from './config.js';
import { parseDuration } from './duration.js';
import type { CardReaderTable, TokenTable } from './file-schema.js';
import type { KeyPath } from './key-lines.js';

/** Path attributes of RFC 7512 2.3 that name an object, not a token. */
const objectAttributes = ['object', 'type', 'id'];

export function resolveToken(
  text: ConfigText,
  token: TokenTable,
  index: number,
  all: readonly TokenTable[],
  { stateDir, euid }: { stateDir: string; euid: number },
): TokenConfig {
  requireOwnName(text, 'token', index, all);
  requireOther(text, index, all);
  requireSafeModule(text, ['token', index, 'module'], token.module, euid);
  return {
    name: token.name,
    module: token.module,
    uri: tokenUri(text, ['token', index, 'uri'], token.uri),
    unlock: token.unlock,
    sessions: token.sessions,
    hosts: token.hosts,
    env: token.env,
    onRemoval: token.on_removal,
    retainPin: token.retain_pin,
    lockAfterMs: durationMs(token.lock_after),
    lockIdleMs: durationMs(token.lock_idle),
    rescanMs: token.rescan_ms,
    keyringService: token.keyring_service,
    keyringAccount: token.keyring_account ?? token.name,
    credential: token.credential ?? `keyagent.${token.name}.pin`,
    clevisFile: token.clevis ?? path.join(stateDir, `${token.name}.pin.jwe`),
  };
}

function durationMs(text: string | undefined): number | undefined {
  return text === undefined ? undefined : parseDuration(text);
}

export function resolveCardReader(
  text: ConfigText,
  reader: CardReaderTable,
  index: number,
  all: readonly CardReaderTable[],
  euid: number,
): CardReaderConfig {
  requireOwnName(text, 'card_reader', index, all);
  requireSafeModule(text, ['card_reader', index, 'module'], reader.module, euid);
  tokenUri(text, ['card_reader', index, 'uri'], reader.uri);
  return reader;
}

function requireOwnName(
  text: ConfigText,
  table: 'token' | 'card_reader',
  index: number,
  all: readonly { name: string }[],
): void {
  const first = all.findIndex(({ name }) => name === all[index]?.name);
  if (first < index)
    text.fail([table, index, 'name'], `${table} ${first + 1} has this name already; choose another`);
}

/** Two of one token have each key twice: no URI would select one. */
function requireOther(text: ConfigText, index: number, all: readonly TokenTable[]): void {
  const what = (token: TokenTable | undefined): unknown => [token?.module, token?.uri, token?.env];
  const first = all.findIndex((token) => isDeepStrictEqual(what(token), what(all[index])));
  if (first < index)
    text.fail(
      ['token', index, 'uri'],
      `${all[first]?.name ?? ''} names this token already; remove one of them`,
    );
}

function requireSafeModule(text: ConfigText, at: KeyPath, module: string, euid: number): void {
  try {
    refuseUnsafeModule(module, euid);
  } catch (cause) {
    text.failFrom(at, cause);
  }
}

function tokenUri(text: ConfigText, at: KeyPath, value: string): Pkcs11Uri {
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
