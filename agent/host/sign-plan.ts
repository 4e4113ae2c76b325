/**
 * What C_SignInit and C_Sign are to be given for a request, and how the result is checked. Refuses whatever the
 * token should never see. DigestInfo and, where the token lacks it, PSS are built here. Calls no token.
 */
import { randomBytes } from 'node:crypto';
import { AgentError, hashLength, type HashName } from '@keyagent/protocol';
import { native } from '../native/index.js';
import type { HostParams } from './host-protocol.js';
import {
  ckm,
  hashMechanisms,
  mechanismBytes,
  plainMechanisms,
  type Route,
  type TokenMechanisms,
} from './mechanisms.js';
import type { PublicKey } from './public-key.js';
import { digestInfo, pkcs1Encode, rsaRecover } from './rsa-encoding.js';

export interface SignPlan {
  readonly mechanism: Uint8Array;
  readonly input: Uint8Array;
  /** Bytes; a result of any other length is wrong. */
  readonly signatureLength: number;
  /** undefined: no fault in the computation of this signature gives the key away. */
  readonly verify?: ((signature: Buffer) => boolean) | undefined;
}

export type SignRequest = Omit<HostParams<'sign'>, 'ref'>;
type TakenRoute = NonNullable<Route>;

const ed25519SignatureLength = 64;

/** @throws AgentError INVALID, MECHANISM */
export function planSignature(publicKey: PublicKey, token: TokenMechanisms, request: SignRequest): SignPlan {
  const { mechanism, hash, data } = request;
  const route = token.route(mechanism, hash);
  if (route === undefined) {
    throw new AgentError('MECHANISM', `the token does not do ${mechanism} with ${hash}`);
  }
  if (mechanism === 'ed25519') {
    return { mechanism: plainMechanisms.eddsa, input: data, signatureLength: ed25519SignatureLength };
  }
  checkDigest(mechanism, hash, data);
  switch (mechanism) {
    case 'ecdsa':
      return planEcdsa(publicKey, data);
    case 'rsa-pkcs1':
      return planPkcs1(publicKey, hash, data, route);
    case 'rsa-pss':
      return planPss(publicKey, hash, data, request.saltLength ?? hashLength[hash], route);
    case 'rsa-oaep':
    case 'rsa-pkcs1-tls':
      throw new AgentError('INVALID', `${mechanism} does not sign`);
  }
}

function checkDigest(
  mechanism: string,
  hash: HashName | undefined,
  digest: Uint8Array,
): asserts hash is HashName {
  if (hash === undefined || !Object.hasOwn(hashLength, hash)) {
    throw new AgentError('INVALID', `${mechanism} needs the name of a hash`);
  }
  if (digest.length !== hashLength[hash]) {
    throw new AgentError('INVALID', `a ${hash} digest has ${hashLength[hash]} bytes, not ${digest.length}`);
  }
}

function planEcdsa({ bits }: PublicKey, digest: Uint8Array): SignPlan {
  const length = Math.ceil(bits / 8);
  // Only the leftmost bits of a longer digest count (FIPS 186-5 6.4.1), and some tokens refuse the rest.
  const input = digest.subarray(0, length);
  return { mechanism: plainMechanisms.ecdsa, input, signatureLength: 2 * length };
}

function planPkcs1(
  { key, bits }: PublicKey,
  hash: HashName,
  digest: Uint8Array,
  route: TakenRoute,
): SignPlan {
  const length = Math.ceil(bits / 8);
  const info = digestInfo(hash, digest);
  const em = pkcs1Encode(info, length);
  return {
    mechanism: route === 'token' ? plainMechanisms.rsaPkcs : plainMechanisms.rsaX509,
    input: route === 'token' ? info : em,
    signatureLength: length,
    verify: (signature) => rsaRecover(key, signature)?.equals(em) === true,
  };
}

function planPss(
  { key, bits }: PublicKey,
  hash: HashName,
  digest: Uint8Array,
  saltLength: number,
  route: TakenRoute,
): SignPlan {
  const length = Math.ceil(bits / 8);
  if (!Number.isInteger(saltLength) || saltLength < 0 || saltLength > length - hashLength[hash] - 2) {
    throw new AgentError('INVALID', `a salt of ${saltLength} bytes does not fit ${hash} and RSA-${bits}`);
  }
  const { ckm: hashAlg, mgf } = hashMechanisms[hash];
  return {
    mechanism:
      route === 'token' ? mechanismBytes(ckm.rsaPkcsPss, hashAlg, mgf, saltLength) : plainMechanisms.rsaX509,
    input: route === 'token' ? digest : native.pssEncode(digest, hash, randomBytes(saltLength), bits),
    signatureLength: length,
    verify: (signature) => {
      const em = rsaRecover(key, signature);
      return em !== undefined && native.pssVerify(em, digest, hash, saltLength, bits);
    },
  };
}
