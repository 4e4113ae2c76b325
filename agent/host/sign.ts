/**
 * One signature in one session: C_SignInit, C_Sign, and the check. No RSA signature leaves unverified: a faulty
 * CRT computation gives the key away (Boneh, DeMillo, Lipton 1997).
 */
import type { Handle } from 'pkcs11js';
import type { LoadedModule } from '../native/index.js';
import { wrongResult } from './ckr.js';
import type { Authenticate } from './login.js';
import { operateAside, signNow } from './operation.js';
import type { Pace } from './pace.js';
import type { SignPlan } from './sign-plan.js';
import { wipe } from './wipe.js';

/**
 * @param pace  undefined: on another thread
 * @throws TokenFailure, also for a signature that was withheld. The session is then to be discarded.
 */
export async function signInSession(
  module: LoadedModule,
  session: Handle,
  key: Handle,
  plan: SignPlan,
  pace: Pace | undefined,
  authenticate?: Authenticate,
): Promise<Buffer> {
  const { mechanism, input, signatureLength: outputLength } = plan;
  const operation = { module, session, key, mechanism, input, outputLength, pace };
  const signature =
    authenticate === undefined && pace?.isShort === true
      ? signNow(operation)
      : await operateAside('sign', operation, authenticate);
  try {
    requireRight(signature, plan);
  } catch (error) {
    wipe(signature);
    throw error;
  }
  return signature;
}

function requireRight(signature: Buffer, { signatureLength, verify }: SignPlan): void {
  if (signature.length !== signatureLength) throw wrongResult('a signature of the wrong length');
  if (verify?.(signature) === false) throw wrongResult('a signature that does not verify was withheld');
}
