/**
 * One signature in one session: C_SignInit, C_Sign, and the check. No RSA signature leaves unverified: a faulty
 * CRT computation gives the key away (Boneh, DeMillo, Lipton 1997).
 */
import type { Handle, PKCS11 } from 'pkcs11js';
import { wrongResult } from './ckr.js';
import { copyForCall, viewForCall, wipe } from './call-buffer.js';
import type { Authenticate } from './login.js';
import type { Pace } from './pace.js';
import type { SignPlan } from './sign-plan.js';

/** @throws Pkcs11Error; TokenFailure for a signature that was withheld. The session is then to be discarded. */
export async function signInSession(
  library: PKCS11,
  session: Handle,
  key: Handle,
  plan: SignPlan,
  pace: Pace | undefined,
  authenticate?: Authenticate,
): Promise<Buffer> {
  library.C_SignInit(session, plan.mechanism, key);
  if (authenticate !== undefined) await authenticate(session);
  const signature =
    pace?.synchronous === true
      ? signMeasured(library, session, plan, pace)
      : await signAside(library, session, plan);
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

function signMeasured(
  library: PKCS11,
  session: Handle,
  { input, signatureLength }: SignPlan,
  pace: Pace,
): Buffer {
  const output = Buffer.alloc(signatureLength);
  const startedAt = performance.now();
  const signature = library.C_Sign(session, viewForCall(input), output);
  pace.record((performance.now() - startedAt) * 1000);
  return signature;
}

async function signAside(
  library: PKCS11,
  session: Handle,
  { input, signatureLength }: SignPlan,
): Promise<Buffer> {
  const copy = copyForCall(input);
  const output = Buffer.alloc(signatureLength);
  try {
    return await library.C_SignAsync(session, copy, output);
  } catch (error) {
    wipe(output);
    throw error;
  } finally {
    wipe(copy);
  }
}
