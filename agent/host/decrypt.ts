/**
 * One decryption in one session. rsa-pkcs1-tls has one outcome: 48 bytes, always. rsa-oaep has two, and nothing is
 * said of what was bad. Encoded messages are unpadded in native code and wiped.
 */
import { randomBytes } from 'node:crypto';
import pkcs11js, { type Handle } from 'pkcs11js';
import type { HashName } from '@keyagent/protocol';
import { native, type LoadedModule } from '../native/index.js';
import { TokenFailure, rvOf } from './ckr.js';
import type { HostParams } from './host-protocol.js';
import type { Authenticate } from './login.js';
import { ckm, hashMechanisms, mechanismBytes, plainMechanisms, type Route } from './mechanisms.js';
import { operateAside } from './operation.js';
import type { PublicKey } from './public-key.js';
import type { Session } from './session-pool.js';
import { wipe } from './wipe.js';

const ckzDataSpecified = 1;
const premasterLength = 48;

/** What a module answers to a ciphertext that does not decrypt; some have no better word than the general ones. */
const badCiphertext: readonly number[] = [
  pkcs11js.CKR_ENCRYPTED_DATA_INVALID,
  pkcs11js.CKR_ENCRYPTED_DATA_LEN_RANGE,
  pkcs11js.CKR_DATA_INVALID,
  pkcs11js.CKR_DATA_LEN_RANGE,
  pkcs11js.CKR_FUNCTION_FAILED,
  pkcs11js.CKR_GENERAL_ERROR,
];

export interface DecryptCall {
  readonly module: LoadedModule;
  readonly session: Session;
  readonly key: Handle;
  readonly ciphertext: Uint8Array;
  readonly route: NonNullable<Route>;
  readonly authenticate?: Authenticate | undefined;
}

/** True if raw RSA is defined on it (RFC 8017 5.1.2): the token need not see anything else. */
export function isInRange(ciphertext: Uint8Array, { modulus }: PublicKey): boolean {
  return modulus?.length === ciphertext.length && Buffer.compare(ciphertext, modulus) < 0;
}

/** @returns null for any bad ciphertext */
export async function decryptOaep(call: DecryptCall, hash: HashName): Promise<Buffer | null> {
  if (call.route === 'token') {
    const { ckm: hashAlg, mgf } = hashMechanisms[hash];
    const noLabel = [ckzDataSpecified, 0, 0];
    return decryptOrBad(call, mechanismBytes(ckm.rsaPkcsOaep, hashAlg, mgf, ...noLabel));
  }
  const em = await decryptRaw(call);
  try {
    return native.oaepDecode(em, hash);
  } finally {
    wipe(em);
  }
}

/** @returns 48 bytes: the premaster secret, or random ones if anything about the ciphertext is wrong */
export async function decryptPremaster(
  call: DecryptCall,
  versions: Required<Pick<HostParams<'decrypt'>, 'clientVersion' | 'negotiatedVersion'>>,
): Promise<Buffer> {
  const fallback = randomBytes(premasterLength);
  const em = call.route === 'host' ? await decryptRaw(call) : await premasterFromToken(call);
  try {
    return native.tlsPremaster(em, fallback, versions.clientVersion, versions.negotiatedVersion);
  } finally {
    wipe(em);
    wipe(fallback);
  }
}

/** The token took the padding off: put it on again, or a wrong one, so that both cases go one way from here. */
async function premasterFromToken(call: DecryptCall): Promise<Buffer> {
  const message = await decryptOrBad(call, plainMechanisms.rsaPkcs);
  const em = Buffer.alloc(Math.max(256, 11 + premasterLength), 0xff);
  em[0] = 0;
  em[1] = message?.length === premasterLength ? 2 : 0;
  em[em.length - premasterLength - 1] = 0;
  (message ?? Buffer.alloc(0)).copy(em, em.length - premasterLength, 0, premasterLength);
  if (message !== null) wipe(message);
  return em;
}

async function decryptRaw(call: DecryptCall): Promise<Buffer> {
  const result = await decrypt(call, plainMechanisms.rsaX509);
  const missing = call.ciphertext.length - result.length;
  if (missing === 0) return result;
  // Some tokens strip leading zeros from an integer.
  const em = Buffer.concat([Buffer.alloc(missing), result]);
  wipe(result);
  return em;
}

/** null: the token found the ciphertext bad. */
async function decryptOrBad(call: DecryptCall, mechanism: Uint8Array): Promise<Buffer | null> {
  try {
    return await decrypt(call, mechanism);
  } catch (error) {
    // That the PIN was given, and what became of it, counts whatever the token called it.
    if (error instanceof TokenFailure && error.atLogin) throw error;
    if (!badCiphertext.includes(rvOf(error) ?? 0)) throw error;
    call.session.suspect = true;
    return null;
  }
}

/** @throws TokenFailure */
function decrypt(
  { module, session, key, ciphertext, authenticate }: DecryptCall,
  mechanism: Uint8Array,
): Promise<Buffer> {
  const outputLength = ciphertext.length;
  const operation = { module, session: session.handle, key, mechanism, input: ciphertext, outputLength };
  return operateAside('decrypt', operation, authenticate);
}
