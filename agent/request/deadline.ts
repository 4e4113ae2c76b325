/** Ends a request at its deadline: the client's own, or the configured one if that is sooner. */
import { AgentError } from '@keyagent/protocol';
import type { Cancellation } from '../cancellation.js';

/**
 * Cancels the request with TIMEOUT after `timeoutMs`. Rejects with the reason of whatever cancels it; what still runs in a
 * token is not awaited.
 */
export function withDeadline<T>(
  timeoutMs: number,
  cancellation: Cancellation,
  work: () => Promise<T>,
): Promise<T> {
  return new Promise<T>((resolve, reject) => {
    cancellation.throwIfCancelled();
    const running = work();
    const timer = setTimeout(expire, timeoutMs, cancellation, timeoutMs);
    cancellation.onCancel(reject);
    const over = (): void => {
      clearTimeout(timer);
      cancellation.offCancel(reject);
    };
    // Both at once: `finally` is three more steps of each request.
    void running.then(over, over);
    void running.then(resolve, reject);
  });
}

function expire(cancellation: Cancellation, timeoutMs: number): void {
  const message = `no answer from the token within ${timeoutMs} ms; see "keyagent status"`;
  cancellation.cancel(new AgentError('TIMEOUT', message));
}
