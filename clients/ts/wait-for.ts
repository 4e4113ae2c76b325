/** Waits for work that others wait for too, so it goes on: each waits only as long as it will itself. */
import { AgentError } from '@keyagent/protocol';

/**
 * @param deadline as performance.now() counts
 * @throws what the work throws; AgentError TIMEOUT, CANCELLED
 */
export function waitFor<T>(work: Promise<T>, deadline: number, signal: AbortSignal | undefined): Promise<T> {
  return new Promise((resolve, reject) => {
    const timeoutMs = Math.max(1, deadline - performance.now());
    const late = new AgentError('TIMEOUT', `no connection to the agent in ${Math.ceil(timeoutMs)} ms`);
    const timer = setTimeout(() => reject(late), timeoutMs);
    const onAbort = (): void => reject(new AgentError('CANCELLED', 'cancelled', { cause: signal?.reason }));
    signal?.addEventListener('abort', onAbort, { once: true });
    if (signal?.aborted === true) onAbort();
    void work.then(resolve, reject).finally(() => {
      clearTimeout(timer);
      signal?.removeEventListener('abort', onAbort);
    });
  });
}
