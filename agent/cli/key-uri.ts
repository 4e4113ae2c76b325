/** The URI argument of a command, checked before it travels. */
import { AgentError, limits, parsePkcs11Uri, refuseSelectorQuery, type Pkcs11Uri } from '@keyagent/protocol';

/** @throws AgentError INVALID saying where, or that a client may not name PINs and modules */
export function keyUri(text: string): Pkcs11Uri {
  if (Buffer.byteLength(text) > limits.uri) {
    throw new AgentError(
      'INVALID',
      `URI: longer than ${limits.uri} bytes; fewer attributes are enough to name a key`,
    );
  }
  const uri = parsePkcs11Uri(text);
  refuseSelectorQuery(uri);
  return uri;
}
