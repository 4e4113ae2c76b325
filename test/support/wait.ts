/** Waits for a state that nothing announces, with a deadline. */
import { setTimeout as delay } from 'node:timers/promises';

/**
 * Asks `probe` until it answers something other than undefined or false.
 * @param what     names the state in the error: "apache listens"
 * @param probe    may throw to end the wait at once
 */
export async function waitFor<T>(
  what: string,
  probe: () => T | undefined | false | Promise<T | undefined | false>,
  timeoutMs = 60_000,
): Promise<T> {
  const deadline = performance.now() + timeoutMs;
  for (;;) {
    const answer = await probe();
    if (answer !== undefined && answer !== false) return answer;
    if (performance.now() > deadline) throw new Error(`not within ${timeoutMs} ms: ${what}`);
    await delay(10);
  }
}
