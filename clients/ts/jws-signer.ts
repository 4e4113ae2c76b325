/** JWS in compact serialisation (RFC 7515 7.1), signed where the key is. Input: a key, a header, payloads. Output: tokens. */
import { createHash } from 'node:crypto';
import { isUint8Array } from 'node:util/types';
import { AgentError, type CallOptions, type KeyAlgorithm } from '@keyagent/protocol';
import type { Key, SigningAlgorithm } from './key.js';

/** RFC 7518 3.1, RFC 8037 3.1: each with one kind of key, ECDSA with one curve. */
const jwsAlgorithms = {
  RS256: { key: 'rsa', alg: 'rsa-pkcs1-sha256' },
  RS384: { key: 'rsa', alg: 'rsa-pkcs1-sha384' },
  RS512: { key: 'rsa', alg: 'rsa-pkcs1-sha512' },
  PS256: { key: 'rsa', alg: 'rsa-pss-sha256' },
  PS384: { key: 'rsa', alg: 'rsa-pss-sha384' },
  PS512: { key: 'rsa', alg: 'rsa-pss-sha512' },
  ES256: { key: 'ec-p256', alg: 'ecdsa-sha256' },
  ES384: { key: 'ec-p384', alg: 'ecdsa-sha384' },
  ES512: { key: 'ec-p521', alg: 'ecdsa-sha512' },
  EdDSA: { key: 'ed25519', alg: 'ed25519' },
} as const satisfies Record<string, { key: KeyAlgorithm; alg: SigningAlgorithm }>;

export type JwsAlgorithm = keyof typeof jwsAlgorithms;

/** RFC 7518 3.3 and 3.5. */
const fewestRsaBits = 2048;

/** The protected header. Other parameters go into it as they are. */
export interface JwsHeader {
  readonly alg: JwsAlgorithm;
  readonly kid?: string;
  readonly typ?: string;
  readonly cty?: string;
  /** true: the key's certificate and its issuers, as far as the token holds them. */
  readonly x5c?: boolean | readonly string[];
  /** true: the SHA-256 thumbprint of the key's certificate. */
  readonly 'x5t#S256'?: boolean | string;
  /** Extensions change what is signed (`b64`), and none is implemented. */
  readonly crit?: never;
  readonly b64?: never;
  readonly [parameter: string]: unknown;
}

export class JwsSigner {
  /** The protected header as it is signed. */
  readonly header: Readonly<Record<string, unknown>>;
  readonly #key: Key;
  readonly #alg: SigningAlgorithm;
  readonly #encodedHeader: string;

  /** @throws AgentError MECHANISM (not an algorithm for this key), INVALID (the header) */
  constructor(key: Key, header: JwsHeader) {
    this.#key = key;
    this.#alg = algorithmFor(key, header.alg);
    this.header = Object.freeze(completeHeader(key, header));
    this.#encodedHeader = base64url(jsonOf(this.header));
  }

  /**
   * @param payload  bytes, or text that is signed as UTF-8
   * @returns HEADER.PAYLOAD.SIGNATURE, each base64url
   * @throws AgentError as Key.sign(); TOO_LARGE: EdDSA takes 8 KiB of header and payload together, encoded
   */
  async sign(payload: Uint8Array | string, options: CallOptions = {}): Promise<string> {
    if (typeof payload !== 'string' && !isUint8Array(payload)) {
      throw new AgentError('INVALID', 'the payload is neither text nor bytes; give JSON.stringify(claims)');
    }
    const input = `${this.#encodedHeader}.${base64url(payload)}`;
    // RFC 7518 3.4: r and s, not DER.
    const format = this.#alg.startsWith('ecdsa-') ? ({ format: 'p1363' } as const) : {};
    const signature = await this.#key.sign(this.#alg, Buffer.from(input, 'ascii'), { ...options, ...format });
    return `${input}.${base64url(signature)}`;
  }
}

function algorithmFor(key: Key, name: string): SigningAlgorithm {
  const entry = Object.hasOwn(jwsAlgorithms, name) ? jwsAlgorithms[name as JwsAlgorithm] : undefined;
  if (entry?.key !== key.algorithm) {
    throw new AgentError('MECHANISM', `JWS algorithm ${name} is not one for this ${key.algorithm} key`);
  }
  if (entry.key === 'rsa' && key.bits < fewestRsaBits) {
    throw new AgentError(
      'MECHANISM',
      `JWS takes RSA keys from ${fewestRsaBits} bits; this one has ${key.bits}`,
    );
  }
  return entry.alg;
}

function completeHeader(key: Key, given: JwsHeader): Record<string, unknown> {
  const { x5c, 'x5t#S256': thumbprint, ...header } = given;
  for (const name of ['kid', 'typ', 'cty'] as const) {
    if (header[name] !== undefined && typeof header[name] !== 'string')
      throw invalid(`${name} is not a string`);
  }
  for (const name of ['crit', 'b64']) {
    if (name in header) throw invalid(`${name} is not supported`);
  }
  const complete: Record<string, unknown> = { ...header };
  if (x5c !== undefined && x5c !== false) complete['x5c'] = x5c === true ? chainOf(key) : x5c;
  if (thumbprint !== undefined && thumbprint !== false)
    complete['x5t#S256'] = thumbprint === true ? thumbprintOf(key) : thumbprint;
  return complete;
}

/** RFC 7515 4.1.6: base64 here, not base64url. */
function chainOf(key: Key): string[] {
  refuseWithoutCertificate(key);
  return key.chain.map(({ raw }) => raw.toString('base64'));
}

function thumbprintOf(key: Key): string {
  return createHash('sha256').update(refuseWithoutCertificate(key)).digest('base64url');
}

function refuseWithoutCertificate({ certificate, uri }: Key): Buffer {
  if (certificate === undefined) throw invalid(`the token holds no certificate of ${uri}`);
  return certificate.raw;
}

function jsonOf(header: object): string {
  try {
    return JSON.stringify(header);
  } catch (cause) {
    throw new AgentError('INVALID', 'the JWS header is not JSON', { cause });
  }
}

function invalid(reason: string): AgentError {
  return new AgentError('INVALID', `JWS header: ${reason}`);
}

function base64url(bytes: Uint8Array | string): string {
  return Buffer.from(bytes).toString('base64url');
}
