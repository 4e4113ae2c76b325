/** A PIN as files and standard input hold it: one line, trimmed of one trailing newline and of nothing else. */
import { AgentError, limits } from '@keyagent/protocol';
import { secretCopy, wipe } from '../secret-bytes.js';

/** Bytes to read at most: a longer PIN shows itself by the byte too many. */
export const pinLineMax = limits.pin + 2;

/**
 * @param raw the bytes read; wiped here, whatever happens
 * @returns the PIN in a Buffer of its own, which the caller wipes
 * @throws AgentError INVALID when it is empty, too long, or more than one line
 */
export function pinFromLine(raw: Uint8Array): Buffer {
  try {
    const length = raw.at(-1) === 0x0a ? raw.length - 1 : raw.length;
    if (length === 0) throw new AgentError('INVALID', 'the PIN is empty');
    if (length > limits.pin) throw new AgentError('INVALID', `the PIN is longer than ${limits.pin} bytes`);
    if (raw.indexOf(0x0a) < length && raw.includes(0x0a)) {
      throw new AgentError('INVALID', 'the PIN must be one line');
    }
    return secretCopy(raw.subarray(0, length));
  } finally {
    wipe(raw);
  }
}
