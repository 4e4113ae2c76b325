/** Clients that connect one after the other until they are told to stop, while something happens to a server or agent. */
import { handshakes, type Count, type Target } from '../support/handshakes.js';
import { waitFor } from '../support/wait.js';

/** @param happen   runs while they connect; they go on until each client has succeeded at least once after it */
export async function underLoad(target: Target, happen: () => Promise<void>): Promise<Count> {
  const concurrency = 8;
  const stop = new AbortController();
  const progress = { succeeded: 0 };
  const load = handshakes({ ...target, count: Infinity, concurrency, signal: stop.signal, progress });
  const more = async (what: string) => {
    const goal = progress.succeeded + concurrency;
    await waitFor(`handshakes succeed ${what}`, () => progress.succeeded >= goal);
  };
  try {
    await more('before');
    await happen();
    await more('afterwards');
  } finally {
    stop.abort();
  }
  return load;
}
