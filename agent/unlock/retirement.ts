/**
 * Tokens that a reload took out of service. What had come for them before is still answered; then their login and
 * their hosts end. Bounded: when the time is over every such request is past its own deadline.
 */
import { once } from 'node:events';
import type { Token } from '../token/token.js';
import type { Ward } from './ward.js';

interface Leaving {
  readonly end: AbortController;
  /** No login is under way any more. */
  readonly loginEnded: Promise<void>;
  readonly ended: Promise<void>;
}

export class Retirement {
  private readonly leaving = new Map<Ward, Leaving>();

  /** From here on no login of the token stands, its PIN is kept no longer, and no host of it starts. */
  begin(ward: Ward, withinMs: number): void {
    const end = new AbortController();
    const timer = setTimeout(() => {
      end.abort();
    }, withinMs).unref();
    const loginEnded = endLogin(ward, end.signal);
    const ended = loginEnded
      .then(() => leave(ward.token, end.signal))
      .finally(() => {
        clearTimeout(timer);
        this.leaving.delete(ward);
      });
    this.leaving.set(ward, { end, loginEnded, ended });
  }

  /**
   * Settles when another token may take this name: none that has it is leaving, and no login to any that leaves is under
   * way. It may be the same token, and as long as its PIN is not confirmed it counts as tried.
   */
  async madeWay(name: string): Promise<void> {
    const all = [...this.leaving];
    await Promise.all(all.map(([{ token }, each]) => (token.name === name ? each.ended : each.loginEnded)));
  }

  /** Settles when none that is leaving now is there any more. */
  async allEnded(): Promise<void> {
    await Promise.all([...this.leaving.values()].map(({ ended }) => ended));
  }

  /** Waits for nobody any more. */
  endNow(): void {
    for (const { end } of this.leaving.values()) end.abort();
  }
}

const why = 'a reload took it out of service';

async function endLogin({ token, unlocker }: Ward, signal: AbortSignal): Promise<void> {
  token.retire();
  // Killed inside C_Login, a host would leave a PIN behind that counts as tried.
  await unlessAborted(unlocker.stop(why), signal);
}

async function leave(token: Token, signal: AbortSignal): Promise<void> {
  // Whoever waits for a login waits for nothing.
  if (token.state === 'unlocked') await unlessAborted(token.operations.idle(signal), signal);
  token.setState('absent', why);
  token.stop();
}

/** Settles with the work, or when the signal fires. */
async function unlessAborted(work: Promise<void>, signal: AbortSignal): Promise<void> {
  if (signal.aborted) return;
  const done = new AbortController();
  const aborted = once(signal, 'abort', { signal: done.signal });
  try {
    await Promise.race([work, aborted]).catch(() => undefined);
  } finally {
    done.abort();
    await aborted.catch(() => undefined);
  }
}
