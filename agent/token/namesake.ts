/**
 * Two [[token]] that name one token by different URIs, which shows when the token is there. In both, each of its keys
 * would be there twice, and no URI would select one.
 */
import { isDeepStrictEqual } from 'node:util';
import { AgentError, formatPkcs11Uri, matchesPkcs11Uri } from '@keyagent/protocol';
import type { TokenConfig } from '../config/config.js';
import type { TokenInfo } from '../host/host-protocol.js';

/**
 * @param info  the token that `config` names
 * @throws AgentError CONFIGURATION if one of `others` names it as well
 */
export function refuseNamesake(
  { name, module, env }: TokenConfig,
  info: TokenInfo,
  others: readonly TokenConfig[],
): void {
  const known = { ...info, token: info.label };
  const namesake = others.find(
    (other) =>
      other.name !== name &&
      other.module === module &&
      isDeepStrictEqual(other.env, env) &&
      matchesPkcs11Uri(other.uri, known),
  );
  if (namesake === undefined) return;
  const token = formatPkcs11Uri({ token: info.label, serial: info.serial });
  throw new AgentError(
    'CONFIGURATION',
    `${namesake.name} and ${name} name the same token (${token}): remove one of the two [[token]], or have each uri select another token; then run "keyagent reload"`,
  );
}
