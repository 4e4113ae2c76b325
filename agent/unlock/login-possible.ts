/** What a token or card says against a login, before a PIN is spent on it. Pure. */
import { AgentError } from '@keyagent/protocol';

/**
 * @param what  it, in words: "web", "card ops1"
 * @param pin   whether one is given; without, its own PIN pad is asked
 * @throws AgentError INVALID, PIN_BLOCKED
 */
export function requireLoginPossible(
  what: string,
  flags: readonly string[],
  { pin, force }: { pin: boolean; force: boolean },
): void {
  if (!pin && !flags.includes('protected-authentication-path')) {
    throw new AgentError('INVALID', `${what} needs a PIN`);
  }
  if (flags.includes('user-pin-locked')) {
    throw new AgentError(
      'PIN_BLOCKED',
      `the PIN of ${what} is locked; its security officer must set a new one`,
    );
  }
  if (flags.includes('user-pin-final-try') && !force) {
    throw new AgentError('PIN_BLOCKED', `one wrong PIN now locks ${what}; say --force if you are sure`);
  }
}

/** What is left after a PIN that was refused; empty when the token does not say. */
export function triesLeft(flags: readonly string[]): string {
  if (flags.includes('user-pin-locked')) return 'it is locked now; its security officer must set a new one';
  if (flags.includes('user-pin-final-try')) return 'one more wrong PIN locks it';
  if (flags.includes('user-pin-count-low')) return 'it counts wrong PINs, and few tries are left';
  return '';
}
