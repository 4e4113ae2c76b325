/** Ends a request at its deadline: the client's own, or the configured one if that is sooner. */
import { AgentError } from '@keyagent/protocol';

/** Rejects with TIMEOUT after `timeoutMs`, or with the reason of `signal`. What still runs in a token is not awaited. */
export function withDeadline<T>(
  timeoutMs: number,
  signal: AbortSignal,
  work: (signal: AbortSignal) => Promise<T>,
): Promise<T> {
  const inner = new AbortController();
  return new Promise<T>((resolve, reject) => {
    const stop = (reason: Error): void => {
      inner.abort(reason);
      reject(reason);
    };
    const cancelled = (): void => {
      stop(signal.reason as Error);
    };
    const timer = setTimeout(() => {
      stop(
        new AgentError(
          'TIMEOUT',
          `no answer from the token within ${String(timeoutMs)} ms; see "keyagent status"`,
        ),
      );
    }, timeoutMs);
    signal.addEventListener('abort', cancelled, { once: true });
    work(inner.signal)
      .then(resolve, reject)
      .finally(() => {
        clearTimeout(timer);
        signal.removeEventListener('abort', cancelled);
      });
  });
}
