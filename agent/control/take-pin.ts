/** Takes a PIN out of a request: into locked memory, because a login may take its time. */
import { secretCopy, wipe } from '../unlock/secret-bytes.js';

/** @returns the PIN, which the caller wipes; the frame holds none any more */
export function takePin<P extends Uint8Array | undefined>(pin: P): P extends Uint8Array ? Buffer : undefined;
export function takePin(pin: Uint8Array | undefined): Buffer | undefined {
  if (pin === undefined) return undefined;
  try {
    return secretCopy(pin);
  } finally {
    wipe(pin);
  }
}
