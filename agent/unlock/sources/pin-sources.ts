/** Which source stands behind a name in `unlock = [...]`. Input: the token's configuration. */
import type { SourceName } from '@keyagent/protocol';
import type { TokenConfig } from '../../config/config.js';
import { CardSource } from './card.js';
import { ClevisSource } from './clevis.js';
import { CredentialSource } from './credential.js';
import { KeyringSource } from './keyring.js';
import type { PinSource } from './pin-source.js';

/** @returns undefined for prompt, which asks an operator and not a source */
export function pinSource(name: SourceName, token: TokenConfig, stateDir: string): PinSource | undefined {
  switch (name) {
    case 'credential':
      return new CredentialSource(token.credential);
    case 'clevis':
      return new ClevisSource(token.clevisFile);
    case 'keyring':
      return new KeyringSource({ service: token.keyringService, account: token.keyringAccount });
    case 'card':
      return new CardSource(stateDir, token.name);
    case 'prompt':
      return undefined;
  }
}
