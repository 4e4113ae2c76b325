/** The keyring item of a token: as the configuration names it, if this user can read that, else as it is by default. */
import { KeyringSource } from '../unlock/sources/keyring.js';
import type { Session } from './session.js';
import { readableConfig, stringIn } from './sockets.js';

export function keyringOf(token: string, { options, around }: Session): KeyringSource {
  const config = readableConfig(options().config, around);
  const tokens = config?.valueAt(['token']);
  const index = Array.isArray(tokens)
    ? tokens.findIndex((_, each) => stringIn(config, ['token', each, 'name']) === token)
    : -1;
  return new KeyringSource({
    service: stringIn(config, ['token', index, 'keyring_service']) ?? 'keyagent',
    account: stringIn(config, ['token', index, 'keyring_account']) ?? token,
  });
}
