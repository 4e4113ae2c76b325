/**
 * Reads what a token holds of keys: private key objects, public key objects, certificates. Judges nothing:
 * anybody may have written the public ones.
 */
import pkcs11js, { type Handle } from 'pkcs11js';
import { readCertificate, type TokenCertificate } from './certificates.js';
import { rvOf } from './ckr.js';
import type { PrivateObject } from './key.js';
import { bool, cka, ckk, cko, text, ulong, type ObjectReader } from './objects.js';
import {
  UnusableKeyError,
  ecPublicKey,
  ed25519PublicKey,
  rsaPublicKey,
  spkiPublicKey,
  type PublicKey,
} from './public-key.js';

export interface PublicObject {
  readonly label: string;
  readonly id: Buffer;
  readonly publicKey: PublicKey | UnusableKeyError;
}

export interface TokenObjects {
  readonly privateKeys: readonly PrivateObject[];
  readonly publicKeys: readonly PublicObject[];
  readonly certificates: readonly TokenCertificate[];
}

const empty = Buffer.alloc(0);
const rsaNumbers = [cka.modulus, cka.publicExponent] as const;

/**
 * In steps, so that others get their turn with the token: each step reads one object, with the reader that it is
 * given. Objects that leave meanwhile are passed over.
 */
export function* readTokenObjects(): Generator<void, TokenObjects, ObjectReader> {
  return {
    privateKeys: yield* readEach(cko.privateKey, readPrivate),
    publicKeys: yield* readEach(cko.publicKey, readPublic),
    certificates: yield* readEach(cko.certificate, readCertificate),
  };
}

function* readEach<T>(
  objectClass: number,
  read: (reader: ObjectReader, object: Handle) => T | undefined,
): Generator<void, T[], ObjectReader> {
  const objects = (yield).find([{ type: cka.class, value: objectClass }]);
  const found: T[] = [];
  for (const object of objects) {
    const reader = yield;
    const one = unlessGone(() => read(reader, object));
    if (one !== undefined) found.push(one);
  }
  return found;
}

function unlessGone<T>(read: () => T): T | undefined {
  try {
    return read();
  } catch (error) {
    if (rvOf(error) === pkcs11js.CKR_OBJECT_HANDLE_INVALID) return undefined;
    throw error;
  }
}

export function readPrivate(reader: ObjectReader, handle: Handle): PrivateObject {
  const [label, id, keyTypeValue, sign, decrypt, always] = reader.read(handle, [
    cka.label,
    cka.id,
    cka.keyType,
    cka.sign,
    cka.decrypt,
    cka.alwaysAuthenticate,
  ]);
  const keyType = ulong(keyTypeValue);
  const [modulus, publicExponent] = keyType === ckk.rsa ? reader.read(handle, rsaNumbers) : [];
  return {
    handle,
    label: text(label),
    id: id ?? empty,
    keyType,
    sign: bool(sign, true),
    decrypt: bool(decrypt, true),
    alwaysAuthenticate: bool(always, false),
    modulus: stripZeros(modulus),
    publicExponent: stripZeros(publicExponent),
    own: usable(() => publicKeyOf(reader, handle, keyType)),
  };
}

function readPublic(reader: ObjectReader, handle: Handle): PublicObject {
  const [label, id, keyType] = reader.read(handle, [cka.label, cka.id, cka.keyType]);
  const publicKey = usable(() => publicKeyOf(reader, handle, ulong(keyType)));
  return { label: text(label), id: id ?? empty, publicKey };
}

/** Of a public key object, or what a private one shows of it. @throws UnusableKeyError */
function publicKeyOf(reader: ObjectReader, handle: Handle, keyType: number | undefined): PublicKey {
  if (keyType === ckk.rsa) {
    const [modulus, exponent] = reader.read(handle, rsaNumbers);
    if (!isPresent(modulus) || !isPresent(exponent)) {
      throw new UnusableKeyError('its modulus or exponent is missing');
    }
    return rsaPublicKey(modulus, exponent);
  }
  if (keyType !== ckk.ec && keyType !== ckk.ecEdwards) {
    throw new UnusableKeyError('its key type is not served');
  }
  const [info, params, point] = reader.read(handle, [cka.publicKeyInfo, cka.ecParams, cka.ecPoint]);
  if (isPresent(info)) return spkiPublicKey(info);
  if (!isPresent(params) || !isPresent(point)) throw new UnusableKeyError('its curve or point is missing');
  return keyType === ckk.ec ? ecPublicKey(params, point) : ed25519PublicKey(params, point);
}

function usable(read: () => PublicKey): PublicKey | UnusableKeyError {
  try {
    return read();
  } catch (error) {
    if (error instanceof UnusableKeyError) return error;
    throw error;
  }
}

/** Tokens store attributes that they have no value for as empty ones. */
function isPresent(value: Buffer | undefined): value is Buffer {
  return value !== undefined && value.length > 0;
}

function stripZeros(integer: Buffer | undefined): Buffer | undefined {
  if (!isPresent(integer)) return undefined;
  const first = integer.findIndex((byte) => byte !== 0);
  return integer.subarray(Math.max(first, 0));
}
