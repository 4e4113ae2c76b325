/** What `keyagent doctor` finds: one line for each thing that it looked at. */
import type { ErrorCode } from '@keyagent/protocol';

export type Check =
  | { readonly name: string; readonly verdict: 'ok'; readonly says: string }
  /** Nothing to mend for certain; `remedy` where there may be. */
  | { readonly name: string; readonly verdict: 'note'; readonly says: string; readonly remedy?: string }
  | {
      readonly name: string;
      readonly verdict: 'problem';
      readonly says: string;
      readonly remedy: string;
      /** Decides the exit status. */
      readonly code: ErrorCode;
    };

export type Problem = Extract<Check, { verdict: 'problem' }>;

export function ok(name: string, says: string): Check {
  return { name, verdict: 'ok', says };
}

export function note(name: string, says: string, remedy?: string): Check {
  return { name, verdict: 'note', says, ...(remedy === undefined ? {} : { remedy }) };
}

export function problem(name: string, code: ErrorCode, says: string, remedy: string): Problem {
  return { name, verdict: 'problem', code, says, remedy };
}
