/**
 * The one error table. Each entry has a number that is never reused, a meaning, and whether the same
 * request may succeed later without anybody changing anything. Numbers from 200 exist only inside a client
 * and never travel. The C header is generated from this table (KA_ERR_* is the negated number).
 */

interface ErrorEntry {
  readonly number: number;
  readonly retryable: boolean;
  readonly meaning: string;
}

export const errorTable = {
  MALFORMED: { number: 1, retryable: false, meaning: 'the frame or message breaks the protocol' },
  UNSUPPORTED: { number: 2, retryable: false, meaning: 'no such method, or no common protocol version' },
  INVALID: { number: 3, retryable: false, meaning: 'a parameter has a value that is refused' },
  TOO_LARGE: { number: 4, retryable: false, meaning: 'a message or parameter is over its limit' },
  DENIED: { number: 5, retryable: false, meaning: 'no rule allows it' },
  NOT_FOUND: { number: 6, retryable: false, meaning: 'no key or token matches' },
  AMBIGUOUS: { number: 7, retryable: false, meaning: 'more than one key or token matches' },
  LOCKED: { number: 8, retryable: true, meaning: 'the token is locked; an operator must unlock it' },
  BUSY: { number: 9, retryable: true, meaning: 'a queue or rate is exhausted; try again later' },
  TIMEOUT: { number: 10, retryable: true, meaning: 'the deadline passed' },
  CANCELLED: { number: 11, retryable: false, meaning: 'the requester cancelled it' },
  MECHANISM: { number: 12, retryable: false, meaning: 'the algorithm is not one for this key or token' },
  KEY_MISMATCH: {
    number: 13,
    retryable: false,
    meaning: 'the public data does not belong to the private key',
  },
  DECRYPT_FAILED: { number: 14, retryable: false, meaning: 'the ciphertext does not decrypt' },
  TOKEN_ABSENT: { number: 15, retryable: true, meaning: 'the token is not there' },
  TOKEN_ERROR: { number: 16, retryable: true, meaning: 'the token or its module failed' },
  PIN_INCORRECT: { number: 17, retryable: false, meaning: 'the token refused the PIN' },
  PIN_BLOCKED: {
    number: 18,
    retryable: false,
    meaning: 'no login without an operator: PIN locked, final try, or refused before',
  },
  SOURCE_FAILED: { number: 19, retryable: true, meaning: 'a PIN source has no PIN to give' },
  CONFIGURATION: { number: 20, retryable: false, meaning: 'the configuration is wrong' },
  INTERNAL: { number: 21, retryable: false, meaning: 'a defect in the agent' },
  STOPPING: { number: 22, retryable: true, meaning: 'the agent is stopping' },
  UNAVAILABLE: { number: 200, retryable: true, meaning: 'the agent cannot be reached' },
  UNTRUSTED: { number: 201, retryable: false, meaning: 'the socket belongs to an unexpected user' },
  BUFFER: { number: 202, retryable: false, meaning: "the caller's buffer is too small" },
  NO_MEMORY: { number: 203, retryable: true, meaning: 'memory is exhausted' },
} as const satisfies Record<string, ErrorEntry>;

export type ErrorCode = keyof typeof errorTable;
export const errorCodes = Object.keys(errorTable) as readonly ErrorCode[];

/** Numbers from here on are made by client libraries and never travel. */
const firstLocalNumber = 200;

const codeByNumber = new Map<number, ErrorCode>(
  errorCodes
    .map((code): [number, ErrorCode] => [errorTable[code].number, code])
    .filter(([number]) => number < firstLocalNumber),
);

/** The code of a number in a reply; undefined for a number that may not come from an agent of this version. */
export function errorCode(number: number): ErrorCode | undefined {
  return codeByNumber.get(number);
}

export interface AgentErrorOptions {
  cause?: unknown;
  /** URIs of the keys that a selector matched (AMBIGUOUS). */
  candidates?: readonly string[];
  /** When to try again, in milliseconds (BUSY). */
  retryAfterMs?: number;
}

/** What every layer throws. The message says what to do next and goes to the peer; the cause stays here. */
export class AgentError extends Error {
  readonly code: ErrorCode;
  readonly candidates: readonly string[] | undefined;
  readonly retryAfterMs: number | undefined;

  constructor(code: ErrorCode, message: string, options: AgentErrorOptions = {}) {
    super(message, options.cause === undefined ? undefined : { cause: options.cause });
    this.name = 'AgentError';
    this.code = code;
    this.candidates = options.candidates;
    this.retryAfterMs = options.retryAfterMs;
  }

  get retryable(): boolean {
    return errorTable[this.code].retryable;
  }
}

/** Whether the same request may succeed later without anybody changing it; false for what is not an AgentError. */
export function isRetryable(error: unknown): boolean {
  return error instanceof AgentError && error.retryable;
}
