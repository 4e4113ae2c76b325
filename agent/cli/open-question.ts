/**
 * A question to an operator, as the agent knows of it: it says in `status` who is asked, and withdraws the question when
 * another operator was quicker or when it ends itself.
 */
import { AgentError, type Caller } from '@keyagent/protocol';

/** Somebody else unlocked the token: that is as good. */
export class UnlockedMeanwhile extends Error {}

/**
 * @param ask  its signal withdraws the question; then it throws the signal's reason
 * @throws UnlockedMeanwhile; AgentError UNAVAILABLE or STOPPING when the agent goes
 */
export async function askOpenly<T>(
  agent: Caller,
  token: string,
  ask: (withdrawn: AbortSignal) => Promise<T>,
): Promise<T> {
  const withdraw = new AbortController();
  const answered = new AbortController();
  agent.call('prompt', { token }, { signal: answered.signal }).then(
    () => {
      withdraw.abort(new UnlockedMeanwhile());
    },
    (error: unknown) => {
      withdraw.abort(
        agent.closed
          ? new AgentError('UNAVAILABLE', 'the agent ended meanwhile; start it and try again')
          : error,
      );
    },
  );
  try {
    return await ask(withdraw.signal);
  } finally {
    answered.abort();
  }
}
