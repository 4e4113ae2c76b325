/**
 * An operator's PIN, from the terminal or as one line of standard input. Output: a Buffer that the caller wipes.
 * At the terminal nothing is echoed. (inquirer hands the PIN over as a string, which cannot be wiped; it dies with
 * this short-lived process.)
 */
import { pinFromLine } from '../unlock/sources/pin-line.js';
import { PinLines } from './pin-lines.js';
import type { Streams } from './streams.js';
import { askOnTerminal } from './terminal-question.js';

/**
 * @param signal  withdraws the question; then it throws the signal's reason
 * @throws CommandError USAGE without a terminal, INTERRUPTED on Ctrl-C and Ctrl-D; AgentError INVALID
 */
export async function promptPin(message: string, streams: Streams, signal?: AbortSignal): Promise<Buffer> {
  return pinFromLine(Buffer.from(await askOnTerminal('password', message, streams, signal), 'utf8'));
}

/** An operator's answer that is no secret; empty for Enter alone. Throws as promptPin does. */
export async function promptAnswer(message: string, streams: Streams, signal?: AbortSignal): Promise<string> {
  return (await askOnTerminal('input', message, streams, signal)).trim();
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
