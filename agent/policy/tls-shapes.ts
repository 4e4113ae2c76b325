/**
 * The exact bytes that TLS signs: CertificateVerify of TLS 1.3 (RFC 8446 4.4.3) and ServerKeyExchange of TLS 1.2
 * (RFC 5246 7.4.3, RFC 8422 5.4). Pure; true only if the whole message has the shape, to the last byte.
 */
import { isCurvePoint } from './curves.js';
import { isSafePrime } from './dh-primes.js';

/** 64 blanks, context string, NUL, transcript hash. */
const padding = 64;
const serverContext = context('TLS 1.3, server CertificateVerify');
const clientContext = context('TLS 1.3, client CertificateVerify');
/** SHA-256 and SHA-384: every cipher suite of TLS 1.3. */
const transcriptLengths = [32, 48];

export function isServerCertificateVerify(message: Uint8Array): boolean {
  return isCertificateVerify(message, serverContext);
}

export function isClientCertificateVerify(message: Uint8Array): boolean {
  return isCertificateVerify(message, clientContext);
}

/** Two randoms of 32 bytes, then ServerECDHParams or ServerDHParams. */
const randoms = 64;

export function isServerKeyExchange(message: Uint8Array): boolean {
  const params = message.subarray(randoms);
  return isEcdhParams(params) || isDhParams(params);
}

function context(text: string): Uint8Array {
  return Uint8Array.from([...' '.repeat(padding), ...text, '\0'], (character) => character.charCodeAt(0));
}

function isCertificateVerify(message: Uint8Array, start: Uint8Array): boolean {
  return (
    transcriptLengths.includes(message.length - start.length) && start.every((byte, i) => message[i] === byte)
  );
}

/** ECCurveType named_curve; explicit curves would be the signer's own. */
const namedCurve = 3;

function isEcdhParams(params: Uint8Array): boolean {
  const [type, high = 0, low = 0, length] = params;
  const point = params.subarray(4);
  return type === namedCurve && length === point.length && isCurvePoint((high << 8) | low, point);
}

/** dh_p, dh_g, dh_Ys, each with a length of two bytes. */
function isDhParams(params: Uint8Array): boolean {
  const prime = vector(params, 0);
  if (prime === undefined) return false;
  const generator = vector(params, prime.end);
  if (generator === undefined) return false;
  const value = vector(params, generator.end);
  if (value?.end !== params.length) return false;
  // Every group of RFC 7919 and RFC 3526 has the generator 2.
  if (generator.bytes.length !== 1 || generator.bytes[0] !== 2) return false;
  return isSafePrime(prime.bytes) && isDhPublicValue(value.bytes, prime.bytes);
}

function vector(bytes: Uint8Array, at: number): { bytes: Uint8Array; end: number } | undefined {
  const [high, low] = bytes.subarray(at);
  if (high === undefined || low === undefined) return undefined;
  const end = at + 2 + ((high << 8) | low);
  return end > bytes.length ? undefined : { bytes: bytes.subarray(at + 2, end), end };
}

/** 1 < Y < p-1, padded to the length of p as OpenSSL does, or without leading zeros. */
function isDhPublicValue(value: Uint8Array, prime: Uint8Array): boolean {
  if (value.length > prime.length || (value.length < prime.length && (value[0] ?? 0) === 0)) return false;
  const y = integer(value);
  return y > 1n && y < integer(prime) - 1n;
}

function integer(bytes: Uint8Array): bigint {
  return BigInt(`0x0${Buffer.from(bytes).toString('hex')}`);
}
