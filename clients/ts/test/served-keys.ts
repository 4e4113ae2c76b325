/** Keys for an AgentPeer, made by node:crypto: answers `key`, `sign` and `decrypt` as an agent does. */
import { constants, generateKeyPairSync, privateDecrypt, sign, type KeyObject } from 'node:crypto';
import {
  AgentError,
  algorithms,
  type AlgorithmName,
  type KeyAlgorithm,
  type Request,
  type Result,
} from '@keyagent/protocol';

export interface ServedKey {
  readonly algorithm: KeyAlgorithm;
  readonly bits: number;
  readonly publicKey: KeyObject;
  readonly privateKey: KeyObject;
}

export const servedKeys: Readonly<Record<string, ServedKey>> = {
  'pkcs11:object=rsa': {
    algorithm: 'rsa',
    bits: 2048,
    ...generateKeyPairSync('rsa', { modulusLength: 2048 }),
  },
  'pkcs11:object=p256': {
    algorithm: 'ec-p256',
    bits: 256,
    ...generateKeyPairSync('ec', { namedCurve: 'P-256' }),
  },
  'pkcs11:object=ed': { algorithm: 'ed25519', bits: 255, ...generateKeyPairSync('ed25519') },
};

export function answerKey(request: Request): Result<'key' | 'sign' | 'decrypt'> {
  if (request.method !== 'key' && request.method !== 'sign' && request.method !== 'decrypt') {
    throw new AgentError('UNSUPPORTED', 'not in this test');
  }
  const key = servedKeys[request.params.uri];
  if (key === undefined) throw new AgentError('NOT_FOUND', 'no key matches');
  switch (request.method) {
    case 'key':
      return describe(request.params.uri, key);
    case 'sign':
      return { signature: signWith(key, request.params) };
    case 'decrypt':
      return { plaintext: decryptWith(key, request.params.alg, request.params.ciphertext) };
  }
}

export function describe(uri: string, { algorithm, bits, publicKey }: ServedKey): Result<'key'> {
  return {
    uri,
    token: 'test',
    token_state: 'unlocked',
    state: 'verified',
    algorithm,
    bits,
    spki: publicKey.export({ type: 'spki', format: 'der' }),
    certificates: [],
    mechanisms: [],
    completed: [],
    usable: true,
  };
}

function signWith(
  { privateKey }: ServedKey,
  params: { alg: AlgorithmName; message?: Uint8Array; format?: 'der' | 'p1363' },
): Buffer {
  // A digest cannot be signed with node:crypto; the tests that send one look at the request itself.
  if (params.message === undefined) return Buffer.alloc(64);
  const entry = algorithms[params.alg];
  const padding = { 'rsa-pss': constants.RSA_PKCS1_PSS_PADDING, 'rsa-pkcs1': constants.RSA_PKCS1_PADDING };
  const hash = 'hash' in entry ? entry.hash : null;
  return sign(hash, params.message, {
    key: privateKey,
    dsaEncoding: params.format === 'p1363' ? 'ieee-p1363' : 'der',
    ...(entry.mechanism === 'rsa-pss' || entry.mechanism === 'rsa-pkcs1'
      ? { padding: padding[entry.mechanism] }
      : {}),
    ...(entry.mechanism === 'rsa-pss' ? { saltLength: constants.RSA_PSS_SALTLEN_DIGEST } : {}),
  });
}

function decryptWith({ privateKey }: ServedKey, alg: AlgorithmName, ciphertext: Uint8Array): Buffer {
  const entry = algorithms[alg];
  if (entry.mechanism !== 'rsa-oaep') return Buffer.alloc(48, 7);
  try {
    return privateDecrypt(
      { key: privateKey, oaepHash: entry.hash, padding: constants.RSA_PKCS1_OAEP_PADDING },
      ciphertext,
    );
  } catch {
    throw new AgentError('DECRYPT_FAILED', 'the ciphertext does not decrypt');
  }
}
