/**
 * Public keys out of what tokens store: attributes or SubjectPublicKeyInfo in, a PublicKey that we serve or a
 * reason why not out. Sources: PKCS#11 v3.1 6.3 (EC), RFC 5480, RFC 8410.
 */
import { createPublicKey, type KeyObject } from 'node:crypto';
import type { KeyAlgorithm } from '@keyagent/protocol';
import { decodeDer, encodeDer, tag } from './der.js';

export interface PublicKey {
  readonly key: KeyObject;
  readonly algorithm: KeyAlgorithm;
  readonly bits: number;
  readonly spki: Buffer;
  /** RSA only; big-endian without leading zeros. */
  readonly modulus?: Buffer;
}

/** Why an object cannot be served; `unusable` in the host's `keys` reply. */
export class UnusableKeyError extends Error {}

const otherCurve = 'its curve is none of P-256, P-384, P-521';
const rsaBits = { min: 2048, max: 4096 } as const;

const curves = [
  { algorithm: 'ec-p256', bits: 256, node: 'prime256v1', oid: '06082a8648ce3d030107' },
  { algorithm: 'ec-p384', bits: 384, node: 'secp384r1', oid: '06052b81040022' },
  { algorithm: 'ec-p521', bits: 521, node: 'secp521r1', oid: '06052b81040023' },
] as const;

/** id-Ed25519; the older OID; PrintableString "edwards25519" as PKCS#11 v3.0 allows and SoftHSM writes. */
const edwards25519Params = ['06032b6570', '06092b06010401da470f01', '130c656477617264733235353139'];
const ecPublicKeyOid = Buffer.from('06072a8648ce3d0201', 'hex');
const ed25519Oid = Buffer.from('06032b6570', 'hex');
const ed25519Length = 32;

export function rsaPublicKey(modulus: Uint8Array, exponent: Uint8Array): PublicKey {
  const n = Buffer.from(modulus).toString('base64url');
  const e = Buffer.from(exponent).toString('base64url');
  return describe(() => createPublicKey({ format: 'jwk', key: { kty: 'RSA', n, e } }));
}

/** @param point CKA_EC_POINT: a DER OCTET STRING; some tokens leave the wrapping out */
export function ecPublicKey(params: Uint8Array, point: Uint8Array): PublicKey {
  const paramsHex = Buffer.from(params).toString('hex');
  const curve = curves.find(({ oid }) => oid === paramsHex);
  if (curve === undefined) throw new UnusableKeyError(otherCurve);
  const algorithm = encodeDer(tag.sequence, ecPublicKeyOid, params);
  // An uncompressed point begins as an OCTET STRING does, and one in 256 of P-256 and of P-384 goes on like one.
  const isRaw = point.length === 1 + 2 * Math.ceil(curve.bits / 8);
  const raw = isRaw ? point : (decodeDer(point, tag.octetString) ?? point);
  return spkiPublicKey(subjectPublicKeyInfo(algorithm, raw));
}

export function ed25519PublicKey(params: Uint8Array, point: Uint8Array): PublicKey {
  if (!edwards25519Params.includes(Buffer.from(params).toString('hex'))) {
    throw new UnusableKeyError('its curve is not edwards25519');
  }
  const wrapped = decodeDer(point, tag.octetString) ?? decodeDer(point, tag.bitString)?.subarray(1);
  const raw = point.length === ed25519Length ? point : (wrapped ?? point);
  return spkiPublicKey(subjectPublicKeyInfo(encodeDer(tag.sequence, ed25519Oid), raw));
}

export function spkiPublicKey(spki: Uint8Array): PublicKey {
  return describe(() => createPublicKey({ format: 'der', type: 'spki', key: Buffer.from(spki) }));
}

function subjectPublicKeyInfo(algorithm: Uint8Array, key: Uint8Array): Buffer {
  return encodeDer(tag.sequence, algorithm, encodeDer(tag.bitString, Buffer.of(0), key));
}

function describe(parse: () => KeyObject): PublicKey {
  let key: KeyObject;
  try {
    key = parse();
  } catch (cause) {
    throw new UnusableKeyError('its public key does not parse', { cause });
  }
  return describeKey(key);
}

/** @throws UnusableKeyError for an algorithm or size that is not served */
export function describeKey(key: KeyObject): PublicKey {
  const spki = key.export({ format: 'der', type: 'spki' });
  const { asymmetricKeyType: type, asymmetricKeyDetails: details } = key;
  if (type === 'rsa') return describeRsa(key, spki);
  if (type === 'ed25519') return { key, spki, algorithm: 'ed25519', bits: 255 };
  if (type !== 'ec') throw new UnusableKeyError(`keys of type ${type} are not served`);
  const curve = curves.find(({ node }) => node === details?.namedCurve);
  if (curve === undefined) throw new UnusableKeyError(otherCurve);
  return { key, spki, algorithm: curve.algorithm, bits: curve.bits };
}

function describeRsa(key: KeyObject, spki: Buffer): PublicKey {
  const bits = key.asymmetricKeyDetails?.modulusLength ?? 0;
  if (bits < rsaBits.min || bits > rsaBits.max) {
    throw new UnusableKeyError(`RSA-${bits} is not served; only ${rsaBits.min} to ${rsaBits.max} bits`);
  }
  const { n } = key.export({ format: 'jwk' });
  if (n === undefined) throw new UnusableKeyError('its modulus is missing');
  return { key, spki, algorithm: 'rsa', bits, modulus: Buffer.from(n, 'base64url') };
}
