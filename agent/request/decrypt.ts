/** decrypt: RSA-OAEP and TLS premaster secrets. Nothing here looks at what came out. */
import { AgentError, type Params, type Result } from '@keyagent/protocol';
import type { Asker, Context } from './context.js';
import { useKey, type Task } from './use-key.js';

/** SSL 3.0 to TLS 1.2: later versions have no RSA key exchange. */
const versionRange = { min: 0x0300, max: 0x0303 };

const task: Task<'decrypt', Params<'decrypt'>, Result<'decrypt'>> = {
  operation: 'decrypt',
  params: (asked, _rule, { mechanism, hash }) => {
    const { ciphertext } = asked;
    const versions = tlsVersions(asked);
    return (ref) => ({ ref, mechanism, ciphertext, hash, ...versions });
  },
  result: (done) => done,
};

export function decrypt(
  params: Params<'decrypt'>,
  asker: Asker,
  context: Context,
): Promise<Result<'decrypt'>> {
  return useKey(task, params, asker, context);
}

function tlsVersions(params: Params<'decrypt'>): { clientVersion?: number; negotiatedVersion?: number } {
  const { alg, client_version: client, negotiated_version: negotiated } = params;
  if (alg !== 'rsa-pkcs1-tls') {
    if (client === undefined && negotiated === undefined) return {};
    throw new AgentError(
      'INVALID',
      `client_version and negotiated_version are for rsa-pkcs1-tls, not for ${alg}`,
    );
  }
  if (client === undefined || negotiated === undefined) {
    throw new AgentError('INVALID', 'rsa-pkcs1-tls needs client_version and negotiated_version');
  }
  const inRange = (version: number): boolean => version >= versionRange.min && version <= versionRange.max;
  if (!inRange(client) || (negotiated !== 0 && (!inRange(negotiated) || negotiated > client))) {
    throw new AgentError(
      'INVALID',
      "TLS versions are 0x0300 to 0x0303, and the negotiated one is not above the client's",
    );
  }
  return { clientVersion: client, negotiatedVersion: negotiated };
}
