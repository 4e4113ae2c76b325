/** Ciphertexts of a TLS premaster secret: a good one, and ten classes of bad ones, all of a length and below the modulus. */
import { constants, publicEncrypt, randomBytes, type KeyObject } from 'node:crypto';

const length = 256;
const separator = length - 48 - 1;

/** EME-PKCS1-v1_5 around a TLS 1.2 premaster secret. */
function encoded(): Buffer {
  const em = Buffer.concat([Buffer.of(0, 2), nonZero(separator - 2), Buffer.of(0), randomBytes(48)]);
  em.writeUInt16BE(0x0303, separator + 1);
  return em;
}

function nonZero(count: number): Buffer {
  return randomBytes(count).map((byte) => byte || 1) as Buffer;
}

function at(index: number, value: number): (em: Buffer) => void {
  return (em) => {
    em[index] = value;
  };
}

/** What each class changes; the first one nothing. */
export const classes: Readonly<Record<string, (em: Buffer) => void>> = {
  good: () => undefined,
  'first byte 1': at(0, 1),
  'block type 1': at(1, 1),
  'block type 0': at(1, 0),
  'a zero at the beginning of the padding': at(2, 0),
  'a zero in the middle of the padding': at(100, 0),
  'a zero at the end of the padding': at(separator - 1, 0),
  'no separator': at(separator, 1),
  'a later separator': (em) => {
    em[separator] = 1;
    em[separator + 9] = 0;
  },
  'another major version': at(separator + 1, 2),
  'another minor version': at(separator + 2, 1),
};

/** @param publicKey  of 2048 bits */
export function ciphertextOf(name: string, publicKey: KeyObject): Buffer {
  const em = encoded();
  classes[name]?.(em);
  return publicEncrypt({ key: publicKey, padding: constants.RSA_NO_PADDING }, em);
}
