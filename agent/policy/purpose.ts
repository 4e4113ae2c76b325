/**
 * Purposes: what the signed bytes must be. Input: mechanism and the whole message. A purpose never takes a digest,
 * since nobody can tell what was hashed.
 */
import type { Mechanism, Purpose } from '@keyagent/protocol';
import { isClientCertificateVerify, isServerCertificateVerify, isServerKeyExchange } from './tls-shapes.js';

type Shape = (message: Uint8Array) => boolean;

const serverSignature: Shape = (message) =>
  isServerCertificateVerify(message) || isServerKeyExchange(message);

/** What each mechanism may sign. RFC 8446 4.2.3: TLS 1.3 signs nothing with PKCS#1 v1.5. */
const shapes: Record<Purpose, Partial<Record<Mechanism, Shape>>> = {
  'tls-server': {
    'rsa-pkcs1': isServerKeyExchange,
    'rsa-pss': serverSignature,
    ecdsa: serverSignature,
    ed25519: serverSignature,
  },
  // A TLS 1.2 client signs its whole transcript, which may hold anything.
  'tls-client': {
    'rsa-pss': isClientCertificateVerify,
    ecdsa: isClientCertificateVerify,
    ed25519: isClientCertificateVerify,
  },
};

/**
 * Whether the mechanism serves the purpose at all.
 * @param named the mechanisms that the rule names: decrypting for the RSA key exchange, which gives away recorded
 *              sessions, must be named
 */
export function mechanismServes(
  purpose: Purpose,
  mechanism: Mechanism,
  named: readonly Mechanism[] | undefined,
): boolean {
  if (mechanism === 'rsa-pkcs1-tls') return purpose === 'tls-server' && named?.includes(mechanism) === true;
  return shapes[purpose][mechanism] !== undefined;
}

/** @param message undefined: only a digest is known, which serves no purpose */
export function messageServes(
  purpose: Purpose,
  mechanism: Mechanism,
  message: Uint8Array | undefined,
): boolean {
  // There is no message: a ciphertext has no shape beyond its length.
  if (mechanism === 'rsa-pkcs1-tls') return purpose === 'tls-server';
  return message !== undefined && shapes[purpose][mechanism]?.(message) === true;
}
