/** EMSA-PKCS1-v1_5 (RFC 8017 9.2) and the raw public operation: both sides of checking an RSA signature. */
import { constants, publicDecrypt, type KeyObject } from 'node:crypto';
import type { HashName } from '@keyagent/protocol';

/** RFC 8017 9.2 note 1: DER of DigestInfo up to the digest. */
const digestInfoPrefix = {
  sha1: Buffer.from('3021300906052b0e03021a05000414', 'hex'),
  sha256: Buffer.from('3031300d060960864801650304020105000420', 'hex'),
  sha384: Buffer.from('3041300d060960864801650304020205000430', 'hex'),
  sha512: Buffer.from('3051300d060960864801650304020305000440', 'hex'),
} as const satisfies Record<HashName, Buffer>;

export function digestInfo(hash: HashName, digest: Uint8Array): Buffer {
  return Buffer.concat([digestInfoPrefix[hash], digest]);
}

/** @param length of the modulus in bytes */
export function pkcs1Encode(info: Uint8Array, length: number): Buffer {
  const em = Buffer.alloc(length, 0xff);
  em[0] = 0;
  em[1] = 1;
  em[length - info.length - 1] = 0;
  em.set(info, length - info.length);
  return em;
}

/** signature^e mod n with leading zeros; undefined for a signature that is not below the modulus. */
export function rsaRecover(key: KeyObject, signature: Buffer): Buffer | undefined {
  try {
    return publicDecrypt({ key, padding: constants.RSA_NO_PADDING }, signature);
  } catch {
    return undefined;
  }
}
