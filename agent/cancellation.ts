/**
 * Says that a request is no longer wanted: cancelled, disconnected, or past its deadline. What an AbortSignal does, at
 * the hundredth part of its cost, which was half of what the agent spent on a request (docs/adr/0009).
 */

type Listener = (reason: Error) => void;

export class Cancellation {
  #reason: Error | undefined;
  /** A few: one for each wait that it is in. Most often one, so no room for more is made ahead. */
  #listeners: Listener[] | undefined;

  get cancelled(): boolean {
    return this.#reason !== undefined;
  }

  /** The first reason counts. Listeners are called at once, and once. */
  cancel(reason: Error): void {
    if (this.#reason !== undefined) return;
    this.#reason = reason;
    const listeners = this.#listeners;
    this.#listeners = undefined;
    for (const listener of listeners ?? []) listener(reason);
  }

  throwIfCancelled(): void {
    if (this.#reason !== undefined) throw this.#reason;
  }

  /** Not called for what was cancelled before: ask with throwIfCancelled. */
  onCancel(listener: Listener): void {
    if (this.#reason !== undefined) return;
    if (this.#listeners === undefined) this.#listeners = [listener];
    else this.#listeners.push(listener);
  }

  offCancel(listener: Listener): void {
    const at = this.#listeners?.indexOf(listener) ?? -1;
    if (at >= 0) this.#listeners?.splice(at, 1);
  }
}
