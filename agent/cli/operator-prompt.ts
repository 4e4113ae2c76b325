/** What an operator is asked for a token's PIN, and when not. Input: the token as `status` tells it. */
import { AgentError, type Result } from '@keyagent/protocol';
import { requireLoginPossible } from '../unlock/login-possible.js';
import { visible } from '../visible.js';

export type TokenStatus = Result<'status'>['tokens'][number];

/** The PIN is typed on the token or its reader. */
export function hasPinPad({ flags = '' }: TokenStatus): boolean {
  return flags.split(' ').includes('protected-authentication-path');
}

/** What the agent would refuse anyway is said before anybody types a PIN. */
export function refusePrompt({ name, state, flags = '', detail }: TokenStatus, force: boolean): void {
  if (state === 'absent') {
    throw new AgentError('TOKEN_ABSENT', `token ${name} is absent; ${detail ?? 'insert it and try again'}`);
  }
  requireLoginPossible(name, flags.split(' '), { pin: true, force });
}

export function question({ name, label, serial, flags = '' }: TokenStatus): string {
  const identity = [label && `label ${visible(label)}`, serial && `serial ${visible(serial)}`]
    .filter(Boolean)
    .join(', ');
  return `PIN of token ${name}${identity && ` (${identity})`}${warningOf(flags)}:`;
}

/** @param flags  space-separated */
export function warningOf(flags: string): string {
  if (flags.includes('user-pin-final-try')) return ', last try before it locks';
  return flags.includes('user-pin-count-low') ? ', wrong PINs were given before' : '';
}
