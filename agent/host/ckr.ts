/**
 * THE translation of CKR_ return values: what the peer is told, and what the host does before it may try again.
 * Input: an error of pkcs11js, or a CK_RV. Output: a TokenFailure. Sources: PKCS#11 v2.40 5.1; PROTOCOL.md.
 */
import pkcs11js from 'pkcs11js';
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

const advice = {
  failed: 'the token failed; try again, and look at its own log if this goes on',
  module: "the token's module must be started anew; try again",
  cancelled: 'it was cancelled on the token or its reader',
  absent: 'the token is not there; insert or connect it',
  locked: 'the token is locked; run "keyagent unlock"',
  sessions: 'the token has no free session; try again, or lower `sessions` of its other users',
  mechanism: 'the token does not do this algorithm with this key',
  decrypt: 'the ciphertext does not decrypt',
  pin: 'the token refused the PIN',
  pinBlocked: 'the PIN is locked or must be changed; use the tool of the token to set it anew',
} as const;

type Row = readonly [rv: number, code: ErrorCode, message: string, recovery?: Recovery];

/** Whatever is not here is TOKEN_ERROR without recovery. */
const table: readonly Row[] = [
  [pkcs11js.CKR_CANCEL, 'TOKEN_ERROR', advice.cancelled],
  [pkcs11js.CKR_HOST_MEMORY, 'TOKEN_ERROR', advice.failed, 'doubt'],
  [pkcs11js.CKR_SLOT_ID_INVALID, 'TOKEN_ABSENT', advice.absent, 'absent'],
  [pkcs11js.CKR_GENERAL_ERROR, 'TOKEN_ERROR', advice.failed, 'doubt'],
  [pkcs11js.CKR_FUNCTION_FAILED, 'TOKEN_ERROR', advice.failed, 'doubt'],
  [pkcs11js.CKR_ARGUMENTS_BAD, 'TOKEN_ERROR', advice.failed],
  [pkcs11js.CKR_DATA_INVALID, 'TOKEN_ERROR', advice.failed],
  [pkcs11js.CKR_DATA_LEN_RANGE, 'TOKEN_ERROR', advice.failed],
  [pkcs11js.CKR_DEVICE_ERROR, 'TOKEN_ERROR', advice.failed, 'doubt'],
  [pkcs11js.CKR_DEVICE_MEMORY, 'TOKEN_ERROR', advice.failed, 'doubt'],
  [pkcs11js.CKR_DEVICE_REMOVED, 'TOKEN_ABSENT', advice.absent, 'absent'],
  [pkcs11js.CKR_ENCRYPTED_DATA_INVALID, 'DECRYPT_FAILED', advice.decrypt],
  [pkcs11js.CKR_ENCRYPTED_DATA_LEN_RANGE, 'DECRYPT_FAILED', advice.decrypt],
  [pkcs11js.CKR_FUNCTION_CANCELED, 'TOKEN_ERROR', advice.cancelled],
  [pkcs11js.CKR_FUNCTION_NOT_SUPPORTED, 'MECHANISM', advice.mechanism],
  [pkcs11js.CKR_KEY_HANDLE_INVALID, 'TOKEN_ERROR', advice.failed, 'find'],
  [pkcs11js.CKR_KEY_SIZE_RANGE, 'MECHANISM', advice.mechanism],
  [pkcs11js.CKR_KEY_TYPE_INCONSISTENT, 'MECHANISM', advice.mechanism],
  [pkcs11js.CKR_KEY_FUNCTION_NOT_PERMITTED, 'MECHANISM', advice.mechanism],
  [pkcs11js.CKR_MECHANISM_INVALID, 'MECHANISM', advice.mechanism],
  [pkcs11js.CKR_MECHANISM_PARAM_INVALID, 'MECHANISM', advice.mechanism],
  [pkcs11js.CKR_OBJECT_HANDLE_INVALID, 'TOKEN_ERROR', advice.failed, 'find'],
  [pkcs11js.CKR_OPERATION_ACTIVE, 'TOKEN_ERROR', advice.failed],
  [pkcs11js.CKR_OPERATION_NOT_INITIALIZED, 'TOKEN_ERROR', advice.failed],
  [pkcs11js.CKR_PIN_INCORRECT, 'PIN_INCORRECT', advice.pin],
  [pkcs11js.CKR_PIN_INVALID, 'PIN_INCORRECT', advice.pin],
  [pkcs11js.CKR_PIN_LEN_RANGE, 'PIN_INCORRECT', advice.pin],
  [pkcs11js.CKR_PIN_EXPIRED, 'PIN_BLOCKED', advice.pinBlocked],
  [pkcs11js.CKR_PIN_LOCKED, 'PIN_BLOCKED', advice.pinBlocked],
  [pkcs11js.CKR_SESSION_CLOSED, 'TOKEN_ERROR', advice.failed, 'reopen'],
  [pkcs11js.CKR_SESSION_COUNT, 'BUSY', advice.sessions],
  [pkcs11js.CKR_SESSION_HANDLE_INVALID, 'TOKEN_ERROR', advice.failed, 'reopen'],
  [pkcs11js.CKR_TOKEN_NOT_PRESENT, 'TOKEN_ABSENT', advice.absent, 'absent'],
  [pkcs11js.CKR_TOKEN_NOT_RECOGNIZED, 'TOKEN_ABSENT', advice.absent, 'absent'],
  [pkcs11js.CKR_USER_NOT_LOGGED_IN, 'LOCKED', advice.locked, 'locked'],
  [pkcs11js.CKR_USER_PIN_NOT_INITIALIZED, 'PIN_BLOCKED', advice.pinBlocked],
  [pkcs11js.CKR_USER_ANOTHER_ALREADY_LOGGED_IN, 'TOKEN_ERROR', advice.module, 'restart'],
  [pkcs11js.CKR_CRYPTOKI_NOT_INITIALIZED, 'TOKEN_ERROR', advice.module, 'restart'],
];
const rows = new Map(table.map((row) => [row[0], row]));

const names = new Map(
  Object.entries(pkcs11js).flatMap(([name, rv]): [number, string][] =>
    name.startsWith('CKR_') && typeof rv === 'number' ? [[rv, name]] : [],
  ),
);

/** A call that the token or its module failed. `ckr` is for logs and audit, the message for the peer. */
export class TokenFailure extends AgentError {
  readonly rv: number;
  readonly ckr: string;
  readonly recovery: Recovery;
  /** In a C_Login for one use of a key. */
  atLogin = false;

  constructor([rv, code, message, recovery = 'none']: Row, cause?: unknown) {
    super(code, message, { cause });
    this.rv = rv;
    this.ckr = names.get(rv) ?? `CKR_0x${rv.toString(16).padStart(8, '0')}`;
    this.recovery = recovery;
  }
}

export function tokenFailure(rv: number, cause?: unknown): TokenFailure {
  return new TokenFailure(rows.get(rv) ?? [rv, 'TOKEN_ERROR', advice.failed], cause);
}

/** CKR_OK with a result that is wrong: as suspicious as a device error. */
export function wrongResult(what: string): TokenFailure {
  return new TokenFailure([pkcs11js.CKR_OK, 'TOKEN_ERROR', `${what}; ${advice.failed}`, 'doubt']);
}

/** The CK_RV of an error that pkcs11js threw; undefined for any other error. */
export function rvOf(error: unknown): number | undefined {
  if (error instanceof TokenFailure) return error.rv;
  if (!(error instanceof Error)) return undefined;
  // C_FindObjects throws the addon's own error: no code, and the number in the text.
  const code = 'code' in error ? error.code : Number(/^CKR_\w+:(\d+)/.exec(error.message)?.[1] ?? 0);
  return typeof code === 'number' && code !== pkcs11js.CKR_OK ? code : undefined;
}

/** What may leave the host in place of any error. A defect of ours becomes INTERNAL and keeps its cause. */
export function translate(error: unknown): AgentError {
  if (error instanceof AgentError) return error;
  const rv = rvOf(error);
  if (rv !== undefined) return tokenFailure(rv, error);
  return new AgentError('INTERNAL', 'a defect in the token host; its log says more', { cause: error });
}
