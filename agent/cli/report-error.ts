/** Says an error as one line (or, with --json, one document) on standard error. Output: the exit status. */
import { AgentError } from '@keyagent/protocol';
import { CommanderError } from 'commander';
import { visible } from '../visible.js';
import { CommandError, exitCodes, sysexits } from './exit-codes.js';

interface Report {
  code: string;
  message: string;
  /** AMBIGUOUS: what it could have been. */
  candidates?: readonly string[];
  retryAfterMs?: number;
}

export function reportError(error: unknown, json: boolean, write: (line: string) => void): number {
  const { exitCode, ...report } = describe(error);
  if (json) write(`${JSON.stringify({ error: report })}\n`);
  else write(`keyagent: ${visible(inWords(report))}\n`);
  return exitCode;
}

function describe(error: unknown): Report & { exitCode: number } {
  if (error instanceof CommandError)
    return { code: error.code, message: error.message, exitCode: error.exitCode };
  if (error instanceof CommanderError) {
    return { code: 'USAGE', message: `${usageText(error)}; see keyagent --help`, exitCode: sysexits.usage };
  }
  if (error instanceof AgentError) {
    return {
      code: error.code,
      message: error.message,
      ...(error.candidates && { candidates: error.candidates }),
      ...(error.retryAfterMs !== undefined && { retryAfterMs: error.retryAfterMs }),
      exitCode: exitCodes[error.code],
    };
  }
  const said = error instanceof Error ? (error.stack ?? error.message) : String(error);
  return {
    code: 'INTERNAL',
    message: `a defect in keyagent, please report it: ${said}`,
    exitCode: sysexits.software,
  };
}

function usageText({ code, message }: CommanderError): string {
  // commander's answer to a missing verb is the help text; it is one line here, as every error.
  if (code === 'commander.help') return 'no command given';
  return message
    .replace(/^error: /, '')
    .replace(/\s*\n\s*/g, ' ')
    .replace(/\.$/, '');
}

function inWords({ message, candidates = [], retryAfterMs }: Report): string {
  const unsaid = candidates.filter((candidate) => !message.includes(candidate));
  const choice = unsaid.length === 0 ? '' : `; candidates: ${unsaid.join(' ')}`;
  return message + choice + (retryAfterMs === undefined ? '' : ` (try again in ${retryAfterMs} ms)`);
}
