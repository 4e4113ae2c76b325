/**
 * Memory for a PIN: the addon's arena, which is not swapped, not dumped and not inherited by a child. V8 would hold
 * typed arrays of up to 64 bytes in its own heap: the collector moves them, and native code gets a second copy outside,
 * so that wiping would reach one of several. Bytes of the arena stay where they are.
 */
import { AgentError } from '@keyagent/protocol';
import { native } from '../native/index.js';

/**
 * @param length at most 512
 * @returns zeroes, to be wiped with `wipe`
 * @throws AgentError CONFIGURATION where RLIMIT_MEMLOCK leaves no locked memory: a PIN is then not taken at all
 */
export function secretBytes(length: number): Buffer {
  try {
    return native.secretBytes(length);
  } catch (cause) {
    const { code } = cause as NodeJS.ErrnoException;
    if (code === 'ERR_OUT_OF_RANGE') throw cause;
    const message = `no locked memory for a PIN (${String(code)}); raise LimitMEMLOCK= of the service, or "ulimit -l"`;
    throw new AgentError('CONFIGURATION', message, { cause });
  }
}

/** A copy; both are then the caller's to wipe. */
export function secretCopy(bytes: Uint8Array): Buffer {
  const copy = secretBytes(bytes.length);
  copy.set(bytes);
  return copy;
}

/** Zeroes a PIN wherever it lies. One of secretBytes is given back with it: the Buffer is empty from then on. */
export function wipe(secret: Uint8Array | undefined): void {
  if (secret !== undefined) native.wipeSecret(secret);
}
