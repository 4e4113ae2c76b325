/**
 * Shares of a secret, any quorum of which give it back. The library has no sharing for a quorum of one, takes no Buffer,
 * and combines too few or foreign shares into something else without a word: whoever combines must have a way to tell.
 */
import { AgentError } from '@keyagent/protocol';
import { combine, split } from 'shamir-secret-sharing';
import { secretCopy } from '../secret-bytes.js';

/**
 * Bytes of a secret. More than a key needs: V8 moves arrays of up to 64 bytes about, and those that the library makes
 * could not be wiped.
 */
export const sharedLength = 96;

/** @returns one share per card, which the caller wipes */
export async function shareSecret(secret: Buffer, count: number, quorum: number): Promise<Buffer[]> {
  requireNumbers(count, quorum);
  if (quorum === 1) return Array.from({ length: count }, () => secretCopy(secret));
  const shares = await split(plain(secret), count, quorum);
  return shares.map(asBuffer);
}

/** @returns the secret if the shares are a quorum of one sharing, which the caller wipes; otherwise any bytes */
export async function combineShares(shares: readonly Buffer[]): Promise<Buffer> {
  const [first, second] = shares;
  if (first === undefined) throw new AgentError('INVALID', 'there is no share to combine');
  if (second === undefined) return secretCopy(first);
  return asBuffer(await combine(shares.map(plain)));
}

const cardsMax = 64;

/** @throws AgentError INVALID */
export function requireNumbers(count: number, quorum: number): void {
  if (count < 1 || count > cardsMax)
    throw new AgentError('INVALID', `a set has 1 to ${cardsMax} cards, not ${count}`);
  if (quorum < 1 || quorum > count) {
    throw new AgentError('INVALID', `the quorum is 1 to ${count}, the number of cards, not ${quorum}`);
  }
}

function plain({ buffer, byteOffset, length }: Buffer): Uint8Array {
  return new Uint8Array(buffer, byteOffset, length);
}

function asBuffer({ buffer, byteOffset, length }: Uint8Array): Buffer {
  return Buffer.from(buffer, byteOffset, length);
}
