/** A private key of the token as the host uses it: what it told the agent, and what it keeps to itself. */
import type { Handle } from 'pkcs11js';
import type { HostKey } from './host-protocol.js';
import type { Pace } from './pace.js';
import type { PublicKey, UnusableKeyError } from './public-key.js';

export interface Key {
  readonly host: HostKey;
  readonly publicKey: PublicKey;
  readonly object: PrivateObject;
  readonly pace: Pace;
  /** Renewed when the token no longer knows it. */
  handle: Handle;
}

/** What a private key object shows of itself. */
export interface PrivateObject {
  readonly handle: Handle;
  readonly label: string;
  readonly id: Buffer;
  /** CKK_ */
  readonly keyType: number | undefined;
  readonly sign: boolean;
  readonly decrypt: boolean;
  readonly alwaysAuthenticate: boolean;
  /** RSA, where the token shows them. */
  readonly modulus: Buffer | undefined;
  readonly publicExponent: Buffer | undefined;
  /** The public key as the private object itself has it, or why it cannot be had. */
  readonly own: PublicKey | UnusableKeyError;
}
