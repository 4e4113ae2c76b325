/**
 * A decrypt request: what the token should never see is answered here, the rest goes into a session. A ciphertext
 * of the wrong length or beyond the modulus is public to whoever made it, so answering early tells nothing.
 */
import { randomBytes } from 'node:crypto';
import { AgentError, hashLength } from '@keyagent/protocol';
import { decryptOaep, decryptPremaster, isInRange, type DecryptCall } from './decrypt.js';
import type { HostParams } from './host-protocol.js';
import type { Key } from './key.js';
import type { Authenticate } from './login.js';
import type { OperationRunner } from './operation-runner.js';
import type { Token } from './token.js';

const premasterLength = 48;

type Opener = (call: DecryptCall) => Promise<Buffer | null>;

/** @throws AgentError DECRYPT_FAILED (rsa-oaep only), INVALID, MECHANISM, TOKEN_ERROR, ... */
export async function decryptWithKey(
  token: Token,
  runner: OperationRunner,
  key: Key,
  params: HostParams<'decrypt'>,
  authenticate: Authenticate | undefined,
): Promise<Buffer> {
  const { mechanism, ciphertext } = params;
  const { publicKey } = key;
  const open = openerOf(params);
  const route = token.mechanisms.route(mechanism, params.hash);
  if (route === undefined) throw new AgentError('MECHANISM', `the token does not do ${mechanism}`);
  const plaintext = isInRange(ciphertext, publicKey)
    ? await runner.withKey(key, (session, handle) =>
        open({ module: token.loaded, session, key: handle, ciphertext, route, authenticate }),
      )
    : null;
  if (plaintext !== null) return plaintext;
  if (mechanism === 'rsa-pkcs1-tls') return randomBytes(premasterLength);
  throw new AgentError('DECRYPT_FAILED', 'the ciphertext does not decrypt');
}

/** @returns what to do in the session; null from it is a bad ciphertext */
function openerOf({ mechanism, hash, clientVersion, negotiatedVersion }: HostParams<'decrypt'>): Opener {
  switch (mechanism) {
    case 'rsa-oaep':
      if (hash === undefined || !Object.hasOwn(hashLength, hash)) {
        throw new AgentError('INVALID', 'rsa-oaep needs the name of a hash');
      }
      return (call) => decryptOaep(call, hash);
    case 'rsa-pkcs1-tls':
      if (!isVersion(clientVersion) || !isVersion(negotiatedVersion)) {
        throw new AgentError('INVALID', 'rsa-pkcs1-tls needs the client version and the negotiated version');
      }
      return (call) => decryptPremaster(call, { clientVersion, negotiatedVersion });
    case 'rsa-pkcs1':
    case 'rsa-pss':
    case 'ecdsa':
    case 'ed25519':
      throw new AgentError('INVALID', `${mechanism} does not decrypt`);
  }
}

function isVersion(version: number | undefined): version is number {
  return Number.isInteger(version) && version !== undefined && version >= 0 && version <= 0xffff;
}
