/** Well-formed TLS messages of a signer, and what an attacker makes of them. Real keys and points by node:crypto. */
import { createECDH, createHash, generateKeyPairSync, randomBytes } from 'node:crypto';

export const serverContext = 'TLS 1.3, server CertificateVerify';
export const clientContext = 'TLS 1.3, client CertificateVerify';

export function certificateVerify(context: string, hash: 'sha256' | 'sha384'): Buffer {
  const transcript = createHash(hash).update('a transcript').digest();
  return Buffer.concat([Buffer.alloc(64, ' '), Buffer.from(`${context}\0`), transcript]);
}

export interface NamedCurve {
  readonly name: string;
  readonly id: number;
  readonly point: () => Buffer;
}

const weierstrass = (name: string, id: number): NamedCurve => ({
  name,
  id,
  point: () => createECDH(name).generateKeys(),
});

/** The last bytes of the SubjectPublicKeyInfo are the key. */
const montgomery = (name: 'x25519' | 'x448', id: number, length: number): NamedCurve => ({
  name,
  id,
  point: () =>
    (name === 'x25519' ? generateKeyPairSync('x25519') : generateKeyPairSync('x448')).publicKey
      .export({ format: 'der', type: 'spki' })
      .subarray(-length),
});

export const curves: readonly NamedCurve[] = [
  weierstrass('prime256v1', 23),
  weierstrass('secp384r1', 24),
  weierstrass('secp521r1', 25),
  montgomery('x25519', 29, 32),
  montgomery('x448', 30, 56),
];

export function ecdhParams(id: number, point: Uint8Array): Buffer {
  return Buffer.concat([Buffer.from([3, id >> 8, id & 0xff, point.length]), point]);
}

export function dhParams(prime: Uint8Array, generator: Uint8Array, value: Uint8Array): Buffer {
  return Buffer.concat([prime, generator, value].flatMap((bytes) => [uint16(bytes.length), bytes]));
}

export function serverKeyExchange(params: Uint8Array): Buffer {
  return Buffer.concat([randomBytes(64), params]);
}

function uint16(value: number): Buffer {
  return Buffer.from([value >> 8, value & 0xff]);
}

/** One byte added or removed at either end. */
export function resized(message: Buffer): [string, Buffer][] {
  return [
    ['a byte more at the end', Buffer.concat([message, Buffer.of(0)])],
    ['a byte more at the start', Buffer.concat([Buffer.of(message[0] ?? 0), message])],
    ['a byte less at the end', message.subarray(0, -1)],
    ['a byte less at the start', message.subarray(1)],
  ];
}

/** Every message that differs from this one in one byte of from..to. */
export function* changed(message: Buffer, from: number, to: number): Iterable<[string, Buffer]> {
  for (let at = from; at < to; at++) {
    for (const bit of [0x01, 0x80]) {
      const copy = Buffer.from(message);
      copy.writeUInt8(copy.readUInt8(at) ^ bit, at);
      yield [`byte ${at} changed`, copy];
    }
  }
}
