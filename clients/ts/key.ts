/** One key of the agent: its public data, and requests that use its private part where it is. */
import { createHash, createPublicKey, X509Certificate, type KeyObject } from 'node:crypto';
import { isUint8Array } from 'node:util/types';
import {
  AgentError,
  algorithms,
  hashLength,
  isAlgorithmName,
  limits,
  mechanismsOf,
  type AlgorithmEntry,
  type AlgorithmOf,
  type CallOptions,
  type KeyAlgorithm,
  type KeyState,
  type Mechanism,
  type Operation,
  type Params,
  type Result,
} from '@keyagent/protocol';
import type { Connection } from './connection.js';

export type SigningAlgorithm = AlgorithmOf<'sign'>;
export type DecryptionAlgorithm = AlgorithmOf<'decrypt'>;

/** A message, or the digest of one, made with the hash of the algorithm. */
export type SignInput = Uint8Array | { readonly digest: Uint8Array };

export interface SignOptions extends CallOptions {
  /** ECDSA only: DER (the default), or r and s as IEEE P1363 and JOSE have them. */
  format?: 'der' | 'p1363';
}

export interface DecryptOptions extends CallOptions {
  /** rsa-pkcs1-tls only, and required there: version in the ClientHello, 0x0303 for TLS 1.2. */
  clientVersion?: number;
  /** rsa-pkcs1-tls only, and required there: version of the handshake, accepted too; 0: not accepted. */
  negotiatedVersion?: number;
}

export class Key {
  /** The agent's own URI of the key: full, unambiguous. */
  readonly uri: string;
  /** Name of its token in the agent's configuration. */
  readonly token: string;
  readonly algorithm: KeyAlgorithm;
  /** RSA: of the modulus; else of the curve. */
  readonly bits: number;
  /** `verified`: checked against the private key. `unverified`: not yet, the token has not been unlocked. */
  readonly state: KeyState;
  readonly publicKey: KeyObject;
  /** The key's own certificate. */
  readonly certificate: X509Certificate | undefined;
  /** The key's own certificate first, then issuers as far as the token holds them. */
  readonly chain: readonly X509Certificate[];
  /** What this user may do with the key, as far as the agent can tell beforehand. */
  readonly mechanisms: readonly Mechanism[];
  readonly #connection: Connection;

  /** Made by Client.key(). */
  constructor(connection: Connection, data: Result<'key'>) {
    this.#connection = connection;
    this.uri = data.uri;
    this.token = data.token;
    this.algorithm = data.algorithm;
    this.bits = data.bits;
    this.state = data.state;
    this.mechanisms = data.mechanisms;
    this.publicKey = readable('public key', () =>
      createPublicKey({ key: Buffer.from(data.spki), format: 'der', type: 'spki' }),
    );
    this.chain = readable('certificate', () => data.certificates.map((der) => new X509Certificate(der)));
    this.certificate = this.chain[0];
  }

  /**
   * Signs a message, or the digest of one. Messages over 8 KiB are hashed here. The bytes must not change until the
   * promise settles.
   * @param alg  as in PROTOCOL.md section 12: "rsa-pss-sha256", "ecdsa-sha384", "ed25519", ...
   * @throws AgentError MECHANISM (not for this key), INVALID (length of the digest), TOO_LARGE (Ed25519 over 8 KiB),
   *         DENIED, LOCKED, BUSY, TIMEOUT, CANCELLED, UNAVAILABLE, ...
   */
  async sign(alg: SigningAlgorithm, data: SignInput, options: SignOptions = {}): Promise<Buffer> {
    const { format, ...callOptions } = options;
    const name = this.#algorithm(alg, 'sign');
    const params: Params<'sign'> = { uri: this.uri, alg: name, ...signedBytes(algorithms[name], data) };
    if (format !== undefined) params.format = format;
    const { signature } = await this.#connection.call('sign', params, callOptions);
    return Buffer.from(signature);
  }

  /**
   * @param alg  "rsa-oaep-sha1" to "rsa-oaep-sha512" (empty label), or "rsa-pkcs1-tls", which always gives 48 bytes:
   *             random ones if the padding or version is wrong (RFC 5246 7.4.7.1)
   * @throws AgentError MECHANISM, INVALID, DECRYPT_FAILED (OAEP, whatever is wrong), DENIED, LOCKED, ...
   */
  async decrypt(
    alg: DecryptionAlgorithm,
    ciphertext: Uint8Array,
    options: DecryptOptions = {},
  ): Promise<Buffer> {
    const { clientVersion, negotiatedVersion, ...callOptions } = options;
    const params: Params<'decrypt'> = {
      uri: this.uri,
      alg: this.#algorithm(alg, 'decrypt'),
      ciphertext: bytesOf(ciphertext),
    };
    if (clientVersion !== undefined) params.client_version = clientVersion;
    if (negotiatedVersion !== undefined) params.negotiated_version = negotiatedVersion;
    const { plaintext } = await this.#connection.call('decrypt', params, callOptions);
    const copy = Buffer.from(plaintext);
    // The view lies in a chunk that the socket read; nobody else would wipe it.
    plaintext.fill(0);
    return copy;
  }

  /** Judges what no rule could allow; what `mechanisms` lists is the agent's to judge, when it is asked. */
  #algorithm(alg: string, operation: Operation): keyof typeof algorithms {
    const possible = mechanismsOf(this.algorithm);
    if (isAlgorithmName(alg)) {
      const entry = algorithms[alg];
      if (entry.operation === operation && possible.includes(entry.mechanism)) return alg;
    }
    throw new AgentError('MECHANISM', `${alg} does not ${operation} with this ${this.algorithm} key`);
  }
}

type SignedBytes = Pick<Params<'sign'>, 'message' | 'digest'>;

function signedBytes({ hash }: AlgorithmEntry, data: SignInput): SignedBytes {
  if (!isDigest(data)) {
    const message = bytesOf(data);
    if (message.length <= limits.message) return { message };
    if (hash !== undefined) return { digest: createHash(hash).update(message).digest() };
    throw new AgentError(
      'TOO_LARGE',
      `Ed25519 signs at most ${limits.message} bytes; this message has ${message.length}`,
    );
  }
  const digest = bytesOf(data.digest);
  if (hash === undefined) throw new AgentError('INVALID', 'Ed25519 signs the message, not a digest of it');
  if (digest.length !== hashLength[hash]) {
    throw new AgentError('INVALID', `a ${hash} digest has ${hashLength[hash]} bytes, not ${digest.length}`);
  }
  return { digest };
}

function isDigest(data: SignInput): data is { readonly digest: Uint8Array } {
  return !isUint8Array(data) && 'digest' in Object(data);
}

/** Bytes of any realm. JavaScript may give anything, and a string has no bytes until somebody chooses an encoding. */
function bytesOf(value: unknown): Uint8Array {
  if (!isUint8Array(value)) throw new AgentError('INVALID', 'bytes are given as a Uint8Array or Buffer');
  return Buffer.from(value.buffer, value.byteOffset, value.length);
}

function readable<T>(what: string, read: () => T): T {
  try {
    return read();
  } catch (cause) {
    throw new AgentError('MALFORMED', `the agent sent a ${what} that cannot be read`, { cause });
  }
}
