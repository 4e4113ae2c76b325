/** Exit status by kind of error (sysexits.h): the one table, and the errors that arise on this side only. */
import type { ErrorCode } from '@keyagent/protocol';

export const sysexits = {
  usage: 64,
  dataErr: 65,
  noInput: 66,
  unavailable: 69,
  software: 70,
  osErr: 71,
  cantCreate: 73,
  ioErr: 74,
  tempFail: 75,
  protocol: 76,
  noPerm: 77,
  config: 78,
} as const;

export const exitCodes: Readonly<Record<ErrorCode, number>> = {
  MALFORMED: sysexits.protocol,
  UNSUPPORTED: sysexits.protocol,
  INVALID: sysexits.dataErr,
  TOO_LARGE: sysexits.dataErr,
  DENIED: sysexits.noPerm,
  NOT_FOUND: sysexits.dataErr,
  AMBIGUOUS: sysexits.dataErr,
  LOCKED: sysexits.tempFail,
  BUSY: sysexits.tempFail,
  TIMEOUT: sysexits.tempFail,
  CANCELLED: sysexits.tempFail,
  MECHANISM: sysexits.dataErr,
  KEY_MISMATCH: sysexits.dataErr,
  DECRYPT_FAILED: sysexits.dataErr,
  TOKEN_ABSENT: sysexits.tempFail,
  TOKEN_ERROR: sysexits.tempFail,
  PIN_INCORRECT: sysexits.noPerm,
  PIN_BLOCKED: sysexits.noPerm,
  SOURCE_FAILED: sysexits.tempFail,
  CONFIGURATION: sysexits.config,
  INTERNAL: sysexits.software,
  STOPPING: sysexits.unavailable,
  UNAVAILABLE: sysexits.unavailable,
  UNTRUSTED: sysexits.noPerm,
  BUFFER: sysexits.software,
  NO_MEMORY: sysexits.osErr,
};

const commandExitCodes = {
  /** What was typed is not a command of keyagent. */
  USAGE: sysexits.usage,
  /** An input file cannot be read. */
  NO_INPUT: sysexits.noInput,
  /** An output file cannot be written. */
  NO_OUTPUT: sysexits.cantCreate,
  /** The audit log is not what the agent wrote. */
  TAMPERED: sysexits.dataErr,
  /** Ctrl-C at a prompt: as a shell reports SIGINT. */
  INTERRUPTED: 130,
} as const;

/** An error of the command itself; everything else is an AgentError. */
export class CommandError extends Error {
  constructor(
    readonly code: keyof typeof commandExitCodes,
    message: string,
    options?: ErrorOptions,
  ) {
    super(message, options);
    this.name = 'CommandError';
  }

  get exitCode(): number {
    return commandExitCodes[this.code];
  }
}
