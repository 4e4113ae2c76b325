/**
 * THE translation of CKR_ return values: what the peer is told, and what the host does before it may try again.
 * Input: an error of pkcs11js, or a CK_RV. Output: a TokenFailure. Sources: PKCS#11 v2.40 5.1; PROTOCOL.md.
 */
import { AgentError, type ErrorCode } from '@keyagent/protocol';

/**
 * Any failure closes its session. Beyond that:
 * reopen  - every session is gone: open anew, find the key again, repeat once
 * find    - the object handle is stale: find the key again, repeat once
 * doubt   - the device may be ill: three in a row end this host
 * restart - the module is unusable in this process: end this host
 * locked  - the login is gone; the agent's to renew
 * absent  - the token is gone: poll until it is back
 */
export type Recovery = 'none' | 'reopen' | 'find' | 'doubt' | 'restart' | 'locked' | 'absent';

interface Entry {
  readonly name: string;
  readonly code: ErrorCode;
  readonly message: string;
  readonly recovery: Recovery;
}

const advice = {
  failed: 'the token failed; try again, and look at its own log if this goes on',
  module: "the token's module must be started anew; try again",
  absent: 'the token is not there; insert or connect it',
  locked: 'the token is locked; run "keyagent unlock"',
  sessions: 'the token has no free session; try again, or lower `sessions` of its other users',
  mechanism: 'the token does not do this algorithm with this key',
  decrypt: 'the ciphertext does not decrypt',
  pin: 'the token refused the PIN',
  pinBlocked: 'the PIN is locked or must be changed; use the tool of the token to set it anew',
} as const;

const entry = (name: string, code: ErrorCode, message: string, recovery: Recovery = 'none'): Entry => ({
  name,
  code,
  message,
  recovery,
});

const table: ReadonlyMap<number, Entry> = new Map([
  [0x001, entry('CKR_CANCEL', 'TOKEN_ERROR', advice.failed)],
  [0x002, entry('CKR_HOST_MEMORY', 'TOKEN_ERROR', advice.failed, 'doubt')],
  [0x003, entry('CKR_SLOT_ID_INVALID', 'TOKEN_ABSENT', advice.absent, 'absent')],
  [0x005, entry('CKR_GENERAL_ERROR', 'TOKEN_ERROR', advice.failed, 'doubt')],
  [0x006, entry('CKR_FUNCTION_FAILED', 'TOKEN_ERROR', advice.failed, 'doubt')],
  [0x007, entry('CKR_ARGUMENTS_BAD', 'TOKEN_ERROR', advice.failed)],
  [0x020, entry('CKR_DATA_INVALID', 'TOKEN_ERROR', advice.failed)],
  [0x021, entry('CKR_DATA_LEN_RANGE', 'TOKEN_ERROR', advice.failed)],
  [0x030, entry('CKR_DEVICE_ERROR', 'TOKEN_ERROR', advice.failed, 'doubt')],
  [0x031, entry('CKR_DEVICE_MEMORY', 'TOKEN_ERROR', advice.failed, 'doubt')],
  [0x032, entry('CKR_DEVICE_REMOVED', 'TOKEN_ABSENT', advice.absent, 'absent')],
  [0x040, entry('CKR_ENCRYPTED_DATA_INVALID', 'DECRYPT_FAILED', advice.decrypt)],
  [0x041, entry('CKR_ENCRYPTED_DATA_LEN_RANGE', 'DECRYPT_FAILED', advice.decrypt)],
  [0x050, entry('CKR_FUNCTION_CANCELED', 'TOKEN_ERROR', advice.failed)],
  [0x054, entry('CKR_FUNCTION_NOT_SUPPORTED', 'MECHANISM', advice.mechanism)],
  [0x060, entry('CKR_KEY_HANDLE_INVALID', 'TOKEN_ERROR', advice.failed, 'find')],
  [0x062, entry('CKR_KEY_SIZE_RANGE', 'MECHANISM', advice.mechanism)],
  [0x063, entry('CKR_KEY_TYPE_INCONSISTENT', 'MECHANISM', advice.mechanism)],
  [0x068, entry('CKR_KEY_FUNCTION_NOT_PERMITTED', 'MECHANISM', advice.mechanism)],
  [0x070, entry('CKR_MECHANISM_INVALID', 'MECHANISM', advice.mechanism)],
  [0x071, entry('CKR_MECHANISM_PARAM_INVALID', 'MECHANISM', advice.mechanism)],
  [0x082, entry('CKR_OBJECT_HANDLE_INVALID', 'TOKEN_ERROR', advice.failed, 'find')],
  [0x090, entry('CKR_OPERATION_ACTIVE', 'TOKEN_ERROR', advice.failed)],
  [0x091, entry('CKR_OPERATION_NOT_INITIALIZED', 'TOKEN_ERROR', advice.failed)],
  [0x0a0, entry('CKR_PIN_INCORRECT', 'PIN_INCORRECT', advice.pin)],
  [0x0a1, entry('CKR_PIN_INVALID', 'PIN_INCORRECT', advice.pin)],
  [0x0a2, entry('CKR_PIN_LEN_RANGE', 'PIN_INCORRECT', advice.pin)],
  [0x0a3, entry('CKR_PIN_EXPIRED', 'PIN_BLOCKED', advice.pinBlocked)],
  [0x0a4, entry('CKR_PIN_LOCKED', 'PIN_BLOCKED', advice.pinBlocked)],
  [0x0b0, entry('CKR_SESSION_CLOSED', 'TOKEN_ERROR', advice.failed, 'reopen')],
  [0x0b1, entry('CKR_SESSION_COUNT', 'BUSY', advice.sessions)],
  [0x0b3, entry('CKR_SESSION_HANDLE_INVALID', 'TOKEN_ERROR', advice.failed, 'reopen')],
  [0x0e0, entry('CKR_TOKEN_NOT_PRESENT', 'TOKEN_ABSENT', advice.absent, 'absent')],
  [0x0e1, entry('CKR_TOKEN_NOT_RECOGNIZED', 'TOKEN_ABSENT', advice.absent, 'absent')],
  [0x101, entry('CKR_USER_NOT_LOGGED_IN', 'LOCKED', advice.locked, 'locked')],
  [0x102, entry('CKR_USER_PIN_NOT_INITIALIZED', 'PIN_BLOCKED', advice.pinBlocked)],
  [0x104, entry('CKR_USER_ANOTHER_ALREADY_LOGGED_IN', 'TOKEN_ERROR', advice.module, 'restart')],
  [0x190, entry('CKR_CRYPTOKI_NOT_INITIALIZED', 'TOKEN_ERROR', advice.module, 'restart')],
]);

export const ckrOk = 0x000;
export const ckrUserAlreadyLoggedIn = 0x100;
export const ckrAttributeSensitive = 0x011;
export const ckrAttributeTypeInvalid = 0x012;
export const ckrSessionCount = 0x0b1;

/** A call that the token or its module failed. `ckr` is for logs and audit, the message for the peer. */
export class TokenFailure extends AgentError {
  readonly rv: number;
  readonly ckr: string;
  readonly recovery: Recovery;

  constructor(rv: number, { name, code, message, recovery }: Entry, cause?: unknown) {
    super(code, message, { cause });
    this.rv = rv;
    this.ckr = name;
    this.recovery = recovery;
  }
}

export function tokenFailure(rv: number, cause?: unknown): TokenFailure {
  const hex = `CKR_0x${rv.toString(16).padStart(8, '0')}`;
  return new TokenFailure(rv, table.get(rv) ?? entry(hex, 'TOKEN_ERROR', advice.failed), cause);
}

/** CKR_OK with a result that is wrong: as suspicious as a device error. */
export function wrongResult(what: string): TokenFailure {
  return new TokenFailure(ckrOk, entry('CKR_OK', 'TOKEN_ERROR', `${what}; ${advice.failed}`, 'doubt'));
}

/** The CK_RV of an error that pkcs11js threw; undefined for any other error. */
export function rvOf(error: unknown): number | undefined {
  if (error instanceof TokenFailure) return error.rv;
  if (!(error instanceof Error) || !('code' in error) || typeof error.code !== 'number') return undefined;
  return error.code === ckrOk ? undefined : error.code;
}

/** What may leave the host in place of any error. A defect of ours becomes INTERNAL and keeps its cause. */
export function translate(error: unknown): AgentError {
  if (error instanceof AgentError) return error;
  const rv = rvOf(error);
  if (rv !== undefined) return tokenFailure(rv, error);
  return new AgentError('INTERNAL', 'a defect in the token host; its log says more', { cause: error });
}
