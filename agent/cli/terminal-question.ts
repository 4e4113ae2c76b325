/**
 * One question on the terminal, by inquirer, and what that leaves open: at the end of the input (Ctrl-D, a terminal that is
 * gone) its readline lets the terminal echo again and waits for ever, and after Ctrl-Z and `fg` it reads no more.
 */
import { CommandError } from './exit-codes.js';
import type { Streams } from './streams.js';

/**
 * @param type    password: nothing is echoed
 * @param signal  withdraws the question; then it throws the signal's reason
 * @throws CommandError USAGE without a terminal, INTERRUPTED on Ctrl-C and at the end of the input
 */
export async function askOnTerminal(
  type: 'password' | 'input',
  message: string,
  { stdin, stdout, stderr }: Streams,
  signal?: AbortSignal,
): Promise<string> {
  // The question belongs on the terminal; standard output may be a pipe.
  const output = [stderr, stdout].find(({ isTTY }) => isTTY === true);
  if (stdin.isTTY !== true || output === undefined) {
    throw new CommandError('USAGE', 'there is no terminal to ask for the PIN; use --stdin or --source');
  }
  const { default: inquirer } = await import('inquirer');
  signal?.throwIfAborted();
  const end = new AbortController();
  const withdraw = (): void => {
    end.abort(signal?.reason);
  };
  signal?.addEventListener('abort', withdraw);
  const unwatch = watch(stdin, {
    ended: () => {
      end.abort(noAnswer());
    },
    continued: () => {
      output.write(`? ${message} `);
    },
  });
  try {
    const ask = inquirer.createPromptModule({ input: stdin, output, signal: end.signal });
    const { answer } = await ask<{ answer: string }>([{ type, name: 'answer', message, mask: false }]);
    return answer;
  } catch (error) {
    const name = error instanceof Error ? error.name : undefined;
    if (name === 'ExitPromptError') throw noAnswer(error);
    throw name === 'AbortPromptError' ? end.signal.reason : error;
  } finally {
    unwatch();
    signal?.removeEventListener('abort', withdraw);
  }
}

function noAnswer(cause?: unknown): CommandError {
  return new CommandError('INTERRUPTED', 'no PIN was given; nothing has changed', { cause });
}

/** What readline shows of both: it pauses its input. @returns what ends this */
function watch(
  stdin: Streams['stdin'],
  told: { readonly ended: () => void; readonly continued: () => void },
): () => void {
  let continuing = false;
  const onPause = (): void => {
    if (!continuing) told.ended();
  };
  const onContinue = (): void => {
    continuing = true;
    // After readline's own listener.
    setImmediate(() => {
      continuing = false;
      stdin.resume();
      told.continued();
    });
  };
  stdin.on('pause', onPause);
  process.on('SIGCONT', onContinue);
  return () => {
    stdin.off('pause', onPause);
    process.off('SIGCONT', onContinue);
    // Nor does readline pause what it holds for paused already.
    stdin.pause();
  };
}
