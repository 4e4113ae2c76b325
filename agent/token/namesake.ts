/**
 * Two [[token]] that name one token by different URIs, which shows when the token is there. In both, each of its keys
 * would be there twice, and no URI would select one.
 */
import { isDeepStrictEqual } from 'node:util';
import { AgentError, formatPkcs11Uri, matchesPkcs11Uri } from '@keyagent/protocol';
import type { TokenConfig } from '../config/config.js';
import type { TokenInfo } from '../host/host-protocol.js';
import { tokenAttributes } from './served-key.js';

/**
 * @param info    the token that `config` names
 * @param beside  what else its module shows: a URI that matches one of these too selects none
 * @throws AgentError CONFIGURATION if one of `others` names it as well
 */
export function refuseNamesake(
  { name, module, env }: TokenConfig,
  info: TokenInfo,
  beside: readonly TokenInfo[],
  others: readonly TokenConfig[],
): void {
  const namesake = others.find((other) => {
    const matches = (shown: TokenInfo): boolean => matchesPkcs11Uri(other.uri, tokenAttributes(shown));
    return (
      other.name !== name &&
      other.module === module &&
      isDeepStrictEqual(other.env, env) &&
      matches(info) &&
      !beside.some(matches)
    );
  });
  if (namesake === undefined) return;
  const token = formatPkcs11Uri({ token: info.label, serial: info.serial });
  throw new AgentError(
    'CONFIGURATION',
    `${namesake.name} and ${name} name the same token (${token}): remove one of the two [[token]], or have each uri select another token; then run "keyagent reload"`,
  );
}
