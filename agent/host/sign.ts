/**
 * One signature in one session: C_SignInit, C_Sign, and the check. No RSA signature leaves unverified: a faulty
 * CRT computation gives the key away (Boneh, DeMillo, Lipton 1997).
 */
import type { Handle, PKCS11 } from 'pkcs11js';
import { wrongResult } from './ckr.js';
import { copyForCall, wipe } from './call-buffer.js';
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
  await authenticate?.(session);
  const input = copyForCall(plan.input);
  const output = Buffer.alloc(plan.signatureLength);
  try {
    const signature =
      pace?.synchronous === true
        ? signMeasured(library, session, input, output, pace)
        : await library.C_SignAsync(session, input, output);
    if (signature.length !== plan.signatureLength) throw wrongResult('a signature of the wrong length');
    if (plan.verify?.(signature) === false) {
      throw wrongResult('a signature that does not verify was withheld');
    }
    return signature;
  } catch (error) {
    wipe(output);
    throw error;
  } finally {
    wipe(input);
  }
}

function signMeasured(library: PKCS11, session: Handle, input: Buffer, output: Buffer, pace: Pace): Buffer {
  const start = process.hrtime.bigint();
  const signature = library.C_Sign(session, input, output);
  pace.record(Number(process.hrtime.bigint() - start) / 1000);
  return signature;
}
