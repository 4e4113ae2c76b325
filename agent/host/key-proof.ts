/**
 * Proof that a public key belongs to a private one: by the modulus that the private object shows, otherwise by
 * a signature over random bytes. Input: both keys and a way to sign. Output: yes, no, or "no proof possible".
 */
import { createHash, randomBytes, verify } from 'node:crypto';
import type { KeyAlgorithm } from '@keyagent/protocol';
import type { PrivateObject } from './key.js';
import { ckk } from './objects.js';
import type { PublicKey } from './public-key.js';
import type { SignRequest } from './sign-plan.js';

const keyTypes: Record<KeyAlgorithm, number> = {
  rsa: ckk.rsa,
  'ec-p256': ckk.ec,
  'ec-p384': ckk.ec,
  'ec-p521': ckk.ec,
  ed25519: ckk.ecEdwards,
};
const sampleLength = 64;

/** undefined: this key does not sign. */
export type SignSample = (publicKey: PublicKey, request: SignRequest) => Promise<Buffer | undefined>;

export async function proveKey(
  object: PrivateObject,
  publicKey: PublicKey,
  signSample: SignSample,
): Promise<boolean | undefined> {
  if (object.keyType !== keyTypes[publicKey.algorithm]) return false;
  if (object.modulus !== undefined) return hasSameNumbers(object, publicKey);
  if (!object.sign || object.alwaysAuthenticate) return undefined;
  const sample = randomBytes(sampleLength);
  const signature = await signSample(publicKey, requestFor(publicKey, sample));
  return signature === undefined ? undefined : verifySample(publicKey, sample, signature);
}

function hasSameNumbers(object: PrivateObject, { key, modulus }: PublicKey): boolean {
  if (object.modulus === undefined || modulus?.equals(object.modulus) !== true) return false;
  const { e } = key.export({ format: 'jwk' });
  return (
    object.publicExponent === undefined || object.publicExponent.equals(Buffer.from(e ?? '', 'base64url'))
  );
}

function requestFor({ algorithm }: PublicKey, sample: Buffer): SignRequest {
  if (algorithm === 'ed25519') return { mechanism: 'ed25519', data: sample };
  const data = createHash('sha256').update(sample).digest();
  return { mechanism: algorithm === 'rsa' ? 'rsa-pkcs1' : 'ecdsa', hash: 'sha256', data };
}

function verifySample({ algorithm, key }: PublicKey, sample: Buffer, signature: Buffer): boolean {
  if (algorithm === 'ed25519') return verify(null, sample, key, signature);
  return verify('sha256', sample, { key, dsaEncoding: 'ieee-p1363' }, signature);
}
