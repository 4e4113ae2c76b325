/**
 * Undoes what a test set up, last thing first: a server ends before the agent that it uses, and that before the
 * folder that both live in. (The hooks of node:test run in the order in which they were registered.) Also when the
 * test process itself is told to end.
 */
import type { TestContext } from 'node:test';

type Undo = () => void | Promise<void>;

export class Cleanup {
  static readonly #open = new Set<Cleanup>();
  readonly #undos: Undo[] = [];

  static {
    for (const signal of ['SIGINT', 'SIGTERM'] as const) {
      process.once(signal, () => void Cleanup.#endBy(signal));
    }
  }

  after(undo: Undo): void {
    Cleanup.#open.add(this);
    this.#undos.push(undo);
  }

  /** Runs all of them, whichever fails; throws what failed. */
  async run(): Promise<void> {
    const errors: unknown[] = [];
    for (let undo = this.#undos.pop(); undo !== undefined; undo = this.#undos.pop()) {
      try {
        await undo();
      } catch (error) {
        errors.push(error);
      }
    }
    Cleanup.#open.delete(this);
    if (errors.length > 0)
      throw new AggregateError(errors, `clean-up failed: ${errors.map(String).join('; ')}`);
  }

  static async #endBy(signal: NodeJS.Signals): Promise<void> {
    const results = await Promise.allSettled([...Cleanup.#open].map((cleanup) => cleanup.run()));
    for (const result of results) if (result.status === 'rejected') console.error(result.reason);
    process.kill(process.pid, signal);
  }
}

/** A clean-up that runs when the test ends. */
export function cleanupAfter(t: TestContext): Cleanup {
  const cleanup = new Cleanup();
  t.after(() => cleanup.run());
  return cleanup;
}
