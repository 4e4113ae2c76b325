/**
 * A PIN sealed to a set of cards. AES-256-GCM under a key that nobody keeps; its shares, one to a card, under RSA-OAEP
 * with SHA-256. Everything else of the set is authenticated with the PIN: token, serial, quorum, cards, shares.
 * Pure: the cards themselves open their shares elsewhere.
 */
import {
  constants,
  createCipheriv,
  createDecipheriv,
  createHash,
  createPublicKey,
  publicEncrypt,
  randomBytes,
  randomFillSync,
  type Decipher,
} from 'node:crypto';
import { AgentError, limits } from '@keyagent/protocol';
import { secretBytes, secretCopy, wipe } from '../secret-bytes.js';
import { combineShares, shareSecret, sharedLength } from './sharing.js';

/** A card is known by both: labels are chosen by people, serials by makers. */
export interface CardIdentity {
  readonly label: string;
  readonly serial: string;
}

/** A card that proved that it decrypts. */
export interface EnrolledCard extends CardIdentity {
  /** SubjectPublicKeyInfo of its RSA key, DER. */
  readonly spki: Buffer;
}

export interface SealedCard extends EnrolledCard {
  /** Its share, encrypted to it. */
  readonly share: Buffer;
}

/** What the PIN is bound to. */
export interface CardSet<C extends EnrolledCard = EnrolledCard> {
  /** Name in the configuration, and serial of the token itself. */
  readonly token: string;
  readonly serial: string;
  readonly quorum: number;
  readonly cards: readonly C[];
}

export interface SealedPin extends CardSet<SealedCard> {
  readonly nonce: Buffer;
  readonly ciphertext: Buffer;
  readonly tag: Buffer;
}

const cipher = 'aes-256-gcm';
const nonceLength = 12;
const tagLength = 16;
/** Its length as two bytes, the PIN, zeros: every PIN seals to the same length. */
const paddedLength = 2 + limits.pin;

/** A new sharing: nothing of an earlier one fits to it. */
export async function sealPin(set: CardSet, pin: Uint8Array): Promise<SealedPin> {
  const secret = secretBytes(sharedLength);
  let shares: Buffer[] = [];
  try {
    randomFillSync(secret);
    shares = await shareSecret(secret, set.cards.length, set.quorum);
    const cards = shares.map((share, index) => withShare(set.cards[index], share));
    return encryptPin({ ...set, cards }, pin, secret);
  } finally {
    wipe(secret);
    for (const share of shares) wipe(share);
  }
}

/**
 * @param shares  as the cards decrypted them; a quorum of them
 * @returns the PIN, which the caller wipes
 * @throws AgentError CONFIGURATION when anything of the set was changed, or the shares are not its own
 */
export async function unsealPin(sealed: SealedPin, shares: readonly Buffer[]): Promise<Buffer> {
  let secret: Buffer | undefined;
  let key: Buffer | undefined;
  let padded: Buffer | undefined;
  try {
    secret = await combineShares(shares);
    key = keyOf(secret);
    const decipher = createDecipheriv(cipher, key, sealed.nonce, { authTagLength: tagLength });
    decipher.setAAD(boundData(sealed));
    decipher.setAuthTag(sealed.tag);
    padded = decryptedBy(decipher, sealed.ciphertext);
    decipher.final();
    return secretCopy(padded.subarray(2, 2 + padded.readUInt16BE(0)));
  } catch (cause) {
    const message = 'the sealed PIN does not open: it was changed, or these cards are of another sharing';
    throw new AgentError('CONFIGURATION', message, { cause });
  } finally {
    for (const each of [secret, key, padded]) wipe(each);
  }
}

/** Byte by byte: of all that one update gives, Node frees a copy without wiping it. */
function decryptedBy(decipher: Decipher, ciphertext: Buffer): Buffer {
  const plaintext = secretBytes(ciphertext.length);
  for (let i = 0; i < ciphertext.length; i++) {
    const byte = decipher.update(ciphertext.subarray(i, i + 1));
    plaintext.set(byte, i);
    wipe(byte);
  }
  return plaintext;
}

function withShare(card: EnrolledCard | undefined, share: Buffer): SealedCard {
  if (card === undefined) throw new Error('more shares than cards');
  return { ...card, share: encryptTo(card.spki, share) };
}

function encryptPin(set: CardSet<SealedCard>, pin: Uint8Array, secret: Buffer): SealedPin {
  if (pin.length === 0 || pin.length > limits.pin) {
    throw new AgentError('INVALID', `a PIN has 1 to ${limits.pin} bytes`);
  }
  const nonce = randomBytes(nonceLength);
  const key = keyOf(secret);
  const padded = secretBytes(paddedLength);
  try {
    padded.writeUInt16BE(pin.length);
    padded.set(pin, 2);
    const encrypter = createCipheriv(cipher, key, nonce, { authTagLength: tagLength });
    encrypter.setAAD(boundData(set));
    const ciphertext = encrypter.update(padded);
    encrypter.final();
    return { ...set, nonce, ciphertext, tag: encrypter.getAuthTag() };
  } finally {
    wipe(key);
    wipe(padded);
  }
}

/** What the card opens again (card-key.ts). */
export function encryptTo(spki: Buffer, secret: Buffer): Buffer {
  const key = createPublicKey({ key: spki, format: 'der', type: 'spki' });
  return publicEncrypt({ key, oaepHash: 'sha256', padding: constants.RSA_PKCS1_OAEP_PADDING }, secret);
}

/** The secret is uniformly random: one hash makes a key of it. */
function keyOf(secret: Buffer): Buffer {
  return createHash('sha256').update(secret).digest();
}

/** Unambiguous: JSON of fixed fields in a fixed order. */
export function boundData({ token, serial, quorum, cards }: CardSet<SealedCard>): Buffer {
  const described = cards.map(({ label, serial: own, spki, share }) => [
    label,
    own,
    spki.toString('base64'),
    share.toString('base64'),
  ]);
  return Buffer.from(JSON.stringify(['keyagent card set', 1, token, serial, quorum, described]));
}
