/**
 * What the agent and a token host say to each other over their socketpair (descriptor 3 of the host).
 * Frames as on the client socket, but up to `hostFrameMax`; the body is msgpackr without records: a request is
 * `[id, op, params]`, a reply `[id, null, result]` or `[id, {code, message, ckr?}, null]`, an event `[0, name, params]`.
 * Descriptor 4 of the host carries PINs only, never in a frame: 2-byte big-endian length, then the bytes,
 * written just before the request that announces them with `pin`.
 */
import type { ErrorCode, HashName, KeyAlgorithm, KeyState, Mechanism } from '@keyagent/protocol';

/** How a host ends of its own accord. */
export const hostExit = {
  /** The agent closed descriptor 3. */
  closed: 0,
  /** The module can serve no longer in that process (CKR_CRYPTOKI_NOT_INITIALIZED, three device errors in a row). */
  module: 75,
} as const;

/** Bytes. */
export const hostFrameMax = 8 * 1024 * 1024;

/** Attributes of a token as PKCS#11 gives them, blank padding trimmed. */
export interface TokenInfo {
  label: string;
  serial: string;
  manufacturer: string;
  model: string;
  libraryManufacturer: string;
  libraryDescription: string;
  libraryVersion: string;
  slotId: number;
  slotDescription: string;
  slotManufacturer: string;
  /** CKF_ names: user-pin-count-low, user-pin-final-try, user-pin-locked, user-pin-to-be-changed, protected-authentication-path, login-required */
  flags: string[];
}

export interface HostCertificate {
  label: string;
  id: Uint8Array;
  der: Uint8Array;
}

export interface HostKey {
  /** Names the key in sign and decrypt, as long as this host lives and the key stays the same. 0 before login. */
  ref: number;
  label: string;
  id: Uint8Array;
  algorithm: KeyAlgorithm;
  bits: number;
  spki: Uint8Array;
  /** Own certificate first, then issuers found on the token. */
  certificates: HostCertificate[];
  /** verified: the public data was checked against the private key. mismatch: it belongs to another key. */
  state: KeyState;
  /** All that the key can do here; CKA_SIGN, CKA_DECRYPT and the token's mechanism list are honoured. */
  mechanisms: Mechanism[];
  /** The part of it that the host completes with raw RSA inside, for some hash at least. */
  completed: Mechanism[];
  /** CKA_ALWAYS_AUTHENTICATE: sign and decrypt want a PIN of their own (`pin`), and refuse it otherwise (MECHANISM). */
  alwaysAuthenticate: boolean;
}

/** A private key that cannot be served, and why (no public data, unknown curve, ...). For logs and status. */
export interface UnusableKey {
  label: string;
  id: Uint8Array;
  reason: string;
}

export interface HostOperations {
  /** Loads the module, initialises it, finds the token (CONFIGURATION, TOKEN_ERROR, TOKEN_ABSENT, AMBIGUOUS). Once per
   *  host; after a failure it may be asked again, but some modules see a token that came later only in a new host. */
  open: {
    params: { module: string; uri: string; sessions: number };
    /** `beside`: what else the module shows. */
    result: { token: TokenInfo; beside: TokenInfo[] };
  };
  /** Every token of the module that the URI matches, none of them opened (CONFIGURATION, TOKEN_ERROR). */
  tokens: { params: { module: string; uri: string }; result: { tokens: TokenInfo[] } };
  /** Asks the token again: flags change with failed logins. TOKEN_ABSENT when it left. */
  token: { params: Record<string, never>; result: { token: TokenInfo } };
  /** `pin`: bytes wait on descriptor 4; otherwise a NULL PIN (protected authentication path). Opens the session pool.
   *  PIN_INCORRECT, PIN_BLOCKED, TOKEN_ABSENT, TOKEN_ERROR. `already`: CKR_USER_ALREADY_LOGGED_IN, proves nothing. */
  login: { params: { pin: boolean }; result: { already: boolean } };
  /** C_Logout and every session closed. */
  logout: { params: Record<string, never>; result: Record<string, never> };
  /** Logged in: private keys with verified public data. Otherwise: what public objects show, all unverified. */
  keys: {
    params: Record<string, never>;
    result: { loggedIn: boolean; keys: HostKey[]; unusable: UnusableKey[] };
  };
  /** `hash` and a digest of its length (rsa-pkcs1, rsa-pss, ecdsa), or the message (ed25519). ECDSA result is r||s.
   *  RSA signatures are verified before they leave the host. saltLength in bytes, rsa-pss only. */
  sign: {
    params: {
      ref: number;
      mechanism: Mechanism;
      hash?: HashName | undefined;
      data: Uint8Array;
      saltLength?: number | undefined;
      pin?: boolean;
    };
    result: { signature: Uint8Array };
  };
  /** rsa-oaep: DECRYPT_FAILED for anything that does not decrypt. rsa-pkcs1-tls: always 48 bytes. */
  decrypt: {
    params: {
      ref: number;
      mechanism: Mechanism;
      hash?: HashName | undefined;
      ciphertext: Uint8Array;
      clientVersion?: number;
      negotiatedVersion?: number;
      pin?: boolean;
    };
    result: { plaintext: Uint8Array };
  };
}

export type HostOperation = keyof HostOperations;
export type HostParams<O extends HostOperation> = HostOperations[O]['params'];
export type HostResult<O extends HostOperation> = HostOperations[O]['result'];

export interface HostError {
  code: ErrorCode;
  /** What to do about it; goes to the peer. */
  message: string;
  /** CKR_ name, for logs and audit. */
  ckr?: string;
  /** The C_Login for this one use failed; otherwise it was never called, or `authenticated` told of it. */
  atLogin?: boolean;
  /** URIs of the tokens that matched (AMBIGUOUS). */
  candidates?: string[];
}

/** Sent by the host of its own accord. */
export interface HostEvents {
  /** The token left or came back (polled with C_GetSlotInfo / C_GetTokenInfo). */
  presence: { present: boolean };
  /** The token took the PIN of the sign or decrypt that came with one. */
  authenticated: Record<string, never>;
}
