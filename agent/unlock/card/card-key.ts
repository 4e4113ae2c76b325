/** The RSA key of a card, by way of a host that is logged in to it. */
import { randomBytes } from 'node:crypto';
import { AgentError } from '@keyagent/protocol';
import type { HostKey } from '../../host/host-protocol.js';
import type { HostProcess } from '../../token/host-process.js';
import { secretCopy, wipe } from '../secret-bytes.js';
import { encryptTo, type SealedCard } from './sealed-pin.js';
import { sharedLength } from './sharing.js';

/**
 * The one key that a card has for this, proved by a decryption.
 * @returns its SubjectPublicKeyInfo
 * @throws AgentError MECHANISM, AMBIGUOUS, KEY_MISMATCH
 */
export async function proveCardKey(host: HostProcess): Promise<Buffer> {
  const [key, ...more] = await decryptingKeys(host);
  if (key === undefined) {
    throw new AgentError('MECHANISM', 'it has no RSA key of 2048 to 4096 bits that decrypts; make one on it');
  }
  if (more.length > 0) {
    throw new AgentError(
      'AMBIGUOUS',
      `it has ${more.length + 1} RSA keys that decrypt; a card needs exactly one`,
    );
  }
  const spki = Buffer.from(key.spki);
  const sample = randomBytes(sharedLength + 1);
  const opened = await decrypt(host, key, encryptTo(spki, sample));
  try {
    if (opened.equals(sample)) return spki;
  } finally {
    wipe(opened);
  }
  throw new AgentError(
    'KEY_MISMATCH',
    'its RSA key decrypts to something else; its public key is not its own',
  );
}

/** @returns the share, which the caller wipes. @throws AgentError KEY_MISMATCH, DECRYPT_FAILED */
export async function openShare(host: HostProcess, card: SealedCard): Promise<Buffer> {
  const key = (await decryptingKeys(host)).find(({ spki }) => card.spki.equals(spki));
  if (key !== undefined) return decrypt(host, key, card.share);
  throw new AgentError('KEY_MISMATCH', 'the key that was enrolled is no longer on it; use another card');
}

async function decryptingKeys(host: HostProcess): Promise<HostKey[]> {
  const { keys } = await host.call('keys', {});
  return keys.filter(
    ({ mechanisms, state, alwaysAuthenticate }) =>
      mechanisms.includes('rsa-oaep') && state !== 'mismatch' && !alwaysAuthenticate,
  );
}

async function decrypt(host: HostProcess, { ref }: HostKey, ciphertext: Buffer): Promise<Buffer> {
  const params = { ref, mechanism: 'rsa-oaep', hash: 'sha256', ciphertext } as const;
  const { plaintext } = await host.call('decrypt', params);
  try {
    return secretCopy(plaintext);
  } finally {
    wipe(plaintext);
  }
}
