/**
 * THE table of algorithms: the names that operators type, the mechanism that rules name, and the hash.
 * Sources: RFC 8017 (RSA), FIPS 186-5 (ECDSA), RFC 8032 (Ed25519), RFC 5246 7.4.7.1 (TLS premaster).
 */

export type KeyAlgorithm = 'rsa' | 'ec-p256' | 'ec-p384' | 'ec-p521' | 'ed25519';
export const keyAlgorithms = ['rsa', 'ec-p256', 'ec-p384', 'ec-p521', 'ed25519'] as const;

/** Names in rules. */
export const mechanisms = ['rsa-pkcs1', 'rsa-pss', 'ecdsa', 'ed25519', 'rsa-oaep', 'rsa-pkcs1-tls'] as const;
export type Mechanism = (typeof mechanisms)[number];

export const operations = ['sign', 'decrypt'] as const;
export type Operation = (typeof operations)[number];

export type HashName = 'sha1' | 'sha256' | 'sha384' | 'sha512';
/** Output length in bytes. */
export const hashLength = { sha1: 20, sha256: 32, sha384: 48, sha512: 64 } as const satisfies Record<
  HashName,
  number
>;

export interface AlgorithmEntry {
  readonly operation: Operation;
  readonly mechanism: Mechanism;
  /** Absent for ed25519 (hashes inside) and rsa-pkcs1-tls (no hash). */
  readonly hash?: HashName;
}

export const algorithms = {
  'rsa-pkcs1-sha256': { operation: 'sign', mechanism: 'rsa-pkcs1', hash: 'sha256' },
  'rsa-pkcs1-sha384': { operation: 'sign', mechanism: 'rsa-pkcs1', hash: 'sha384' },
  'rsa-pkcs1-sha512': { operation: 'sign', mechanism: 'rsa-pkcs1', hash: 'sha512' },
  'rsa-pss-sha256': { operation: 'sign', mechanism: 'rsa-pss', hash: 'sha256' },
  'rsa-pss-sha384': { operation: 'sign', mechanism: 'rsa-pss', hash: 'sha384' },
  'rsa-pss-sha512': { operation: 'sign', mechanism: 'rsa-pss', hash: 'sha512' },
  'ecdsa-sha256': { operation: 'sign', mechanism: 'ecdsa', hash: 'sha256' },
  'ecdsa-sha384': { operation: 'sign', mechanism: 'ecdsa', hash: 'sha384' },
  'ecdsa-sha512': { operation: 'sign', mechanism: 'ecdsa', hash: 'sha512' },
  ed25519: { operation: 'sign', mechanism: 'ed25519' },
  'rsa-oaep-sha1': { operation: 'decrypt', mechanism: 'rsa-oaep', hash: 'sha1' },
  'rsa-oaep-sha256': { operation: 'decrypt', mechanism: 'rsa-oaep', hash: 'sha256' },
  'rsa-oaep-sha384': { operation: 'decrypt', mechanism: 'rsa-oaep', hash: 'sha384' },
  'rsa-oaep-sha512': { operation: 'decrypt', mechanism: 'rsa-oaep', hash: 'sha512' },
  'rsa-pkcs1-tls': { operation: 'decrypt', mechanism: 'rsa-pkcs1-tls' },
} as const satisfies Record<string, AlgorithmEntry>;

export type AlgorithmName = keyof typeof algorithms;
/** The algorithms of one operation. */
export type AlgorithmOf<O extends Operation> = {
  [Name in AlgorithmName]: (typeof algorithms)[Name]['operation'] extends O ? Name : never;
}[AlgorithmName];
export const algorithmNames = Object.keys(algorithms) as AlgorithmName[];

export function isAlgorithmName(name: string): name is AlgorithmName {
  return Object.hasOwn(algorithms, name);
}

const mechanismsByKey: Record<KeyAlgorithm, readonly Mechanism[]> = {
  rsa: ['rsa-pkcs1', 'rsa-pss', 'rsa-oaep', 'rsa-pkcs1-tls'],
  'ec-p256': ['ecdsa'],
  'ec-p384': ['ecdsa'],
  'ec-p521': ['ecdsa'],
  ed25519: ['ed25519'],
};

/** The mechanisms that a key of this algorithm can do at all; a token or a rule may allow fewer. */
export function mechanismsOf(algorithm: KeyAlgorithm): readonly Mechanism[] {
  return mechanismsByKey[algorithm];
}
