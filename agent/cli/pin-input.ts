/**
 * An operator's PIN, from the terminal or as one line of standard input. Output: a Buffer that the caller wipes.
 * At the terminal nothing is echoed. (inquirer hands the PIN over as a string, which cannot be wiped; it dies with
 * this short-lived process.)
 */
import { AgentError } from '@keyagent/protocol';
import { secretBytes, wipe } from '../unlock/secret-bytes.js';
import { pinFromLine, pinLineMax } from '../unlock/sources/pin-line.js';
import { CommandError } from './exit-codes.js';
import type { Streams } from './streams.js';

/**
 * @param signal  withdraws the question; then it throws the signal's reason
 * @throws CommandError USAGE without a terminal, INTERRUPTED on Ctrl-C; AgentError INVALID
 */
export async function promptPin(message: string, streams: Streams, signal?: AbortSignal): Promise<Buffer> {
  const { stdin, stdout, stderr } = streams;
  // The prompt belongs on the terminal; standard output may be a pipe.
  const output = [stderr, stdout].find(({ isTTY }) => isTTY === true);
  if (stdin.isTTY !== true || output === undefined) {
    throw new CommandError('USAGE', 'there is no terminal to ask for the PIN; use --stdin or --source');
  }
  const { default: inquirer } = await import('inquirer');
  const prompt = inquirer.createPromptModule({ input: stdin, output, ...(signal && { signal }) });
  try {
    const { pin } = await prompt<{ pin: string }>([{ type: 'password', name: 'pin', message, mask: false }]);
    return pinFromLine(Buffer.from(pin, 'utf8'));
  } catch (cause) {
    if (cause instanceof Error && cause.name === 'ExitPromptError') {
      throw new CommandError('INTERRUPTED', 'no PIN was given; nothing has changed', { cause });
    }
    throw signal?.aborted === true ? signal.reason : cause;
  }
}

/** Reads standard input to the end of its first line. @throws AgentError INVALID */
export async function readPinLine({ stdin }: Streams): Promise<Buffer> {
  const raw = secretBytes(pinLineMax);
  let length = 0;
  for await (const chunk of stdin) {
    const bytes = Buffer.isBuffer(chunk) ? chunk : Buffer.from(chunk);
    const end = bytes.indexOf(0x0a);
    length += bytes.copy(raw, length, 0, end < 0 ? bytes.length : end + 1);
    wipe(bytes);
    if (end >= 0 || length === raw.length) break;
  }
  if (length === 0) throw new AgentError('INVALID', 'standard input holds no PIN; give it one line');
  try {
    return pinFromLine(raw.subarray(0, length));
  } finally {
    wipe(raw);
  }
}
