/**
 * An operator's PIN, from the terminal or as one line of standard input. Output: a Buffer that the caller wipes.
 * At the terminal nothing is echoed. (inquirer hands the PIN over as a string, which cannot be wiped; it dies with
 * this short-lived process.)
 */
import { pinFromLine } from '../unlock/sources/pin-line.js';
import { CommandError } from './exit-codes.js';
import { PinLines } from './pin-lines.js';
import type { Streams } from './streams.js';

/**
 * @param signal  withdraws the question; then it throws the signal's reason
 * @throws CommandError USAGE without a terminal, INTERRUPTED on Ctrl-C; AgentError INVALID
 */
export async function promptPin(message: string, streams: Streams, signal?: AbortSignal): Promise<Buffer> {
  const prompt = await terminalPrompt(streams, signal);
  const { pin } = await prompt<{ pin: string }>([
    { type: 'password', name: 'pin', message, mask: false },
  ]).catch((cause: unknown) => noAnswer(cause, signal));
  return pinFromLine(Buffer.from(pin, 'utf8'));
}

/** An operator's answer that is no secret; empty for Enter alone. Throws as promptPin does. */
export async function promptAnswer(message: string, streams: Streams, signal?: AbortSignal): Promise<string> {
  const prompt = await terminalPrompt(streams, signal);
  const { answer } = await prompt<{ answer: string }>([{ type: 'input', name: 'answer', message }]).catch(
    (cause: unknown) => noAnswer(cause, signal),
  );
  return answer.trim();
}

async function terminalPrompt({ stdin, stdout, stderr }: Streams, signal: AbortSignal | undefined) {
  // The prompt belongs on the terminal; standard output may be a pipe.
  const output = [stderr, stdout].find(({ isTTY }) => isTTY === true);
  if (stdin.isTTY !== true || output === undefined) {
    throw new CommandError('USAGE', 'there is no terminal to ask for the PIN; use --stdin or --source');
  }
  const { default: inquirer } = await import('inquirer');
  return inquirer.createPromptModule({ input: stdin, output, ...(signal && { signal }) });
}

function noAnswer(cause: unknown, signal: AbortSignal | undefined): never {
  if (cause instanceof Error && cause.name === 'ExitPromptError') {
    throw new CommandError('INTERRUPTED', 'no PIN was given; nothing has changed', { cause });
  }
  throw signal?.aborted === true ? signal.reason : cause;
}

/** Reads standard input to the end of its first line. @throws AgentError INVALID */
export async function readPinLine(streams: Streams): Promise<Buffer> {
  const lines = new PinLines(streams);
  try {
    return await lines.next();
  } finally {
    await lines.close();
  }
}
