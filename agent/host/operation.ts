/**
 * A sign or decrypt operation of PKCS#11 in one session: begun and ended in one step, on this thread or on another. Where
 * the key asks for a PIN at every use, that comes between the two.
 */
import pkcs11js, { type Handle } from 'pkcs11js';
import { native, type LoadedModule, type Outcome } from '../native/index.js';
import { tokenFailure, wrongResult } from './ckr.js';
import type { Authenticate } from './login.js';
import type { Pace } from './pace.js';

export interface Operation {
  readonly module: LoadedModule;
  readonly session: Handle;
  readonly key: Handle;
  /** As mechanismBytes makes it. */
  readonly mechanism: Uint8Array;
  /** Copied before a call returns. */
  readonly input: Uint8Array;
  /** Of the longest result, bytes. */
  readonly outputLength: number;
  /** Told how long it took. */
  readonly pace?: Pace | undefined;
}

const calls = {
  sign: { init: native.signInit, aside: native.signAside },
  decrypt: { init: native.decryptInit, aside: native.decryptAside },
} as const;

/** C_SignInit and C_Sign, while everybody else waits. @throws TokenFailure */
export function signNow(operation: Operation): Buffer {
  const { module, session, mechanism, key, input, outputLength } = operation;
  return resultOf(native.sign(module, session, mechanism, key, input, outputLength), operation);
}

/** On a thread of libuv's pool. @throws TokenFailure */
export async function operateAside(
  use: 'sign' | 'decrypt',
  operation: Operation,
  authenticate?: Authenticate,
): Promise<Buffer> {
  const { module, session, mechanism, key, input, outputLength } = operation;
  const { init, aside } = calls[use];
  if (authenticate === undefined)
    return resultOf(await aside(module, session, mechanism, key, input, outputLength), operation);
  const rv = init(module, session, mechanism, key);
  if (rv !== pkcs11js.CKR_OK) throw tokenFailure(rv);
  await authenticate(session);
  return resultOf(await aside(module, session, null, null, input, outputLength), operation);
}

function resultOf([result, microseconds]: Outcome, { pace }: Operation): Buffer {
  pace?.record(microseconds, typeof result !== 'number');
  if (typeof result === 'number') throw tokenFailure(result);
  if (result === null) throw wrongResult('a result longer than it can be');
  return result;
}
