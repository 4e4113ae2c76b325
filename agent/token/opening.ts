/**
 * Keeps the hosts of one token open: starts those that do not run and has them find the token. Where it is not there, or
 * a host fails, they try again after a pause. What that means for the token is the token's affair.
 */
import { AgentError } from '@keyagent/protocol';
import type { HostSlot } from './host-slot.js';

/** Until a token that failed to open is opened again. */
const retryMs = { first: 1000, last: 30_000 };
/** How often a token that is not there is looked for. */
const searchMs = 500;

export interface OpeningParts {
  readonly slots: readonly HostSlot[];
  /** Every host runs. What this rejects with counts as a failure to open. */
  readonly opened: () => Promise<void>;
  /** Told of each failure; it is tried again. */
  readonly failed: (error: unknown, absent: boolean) => void;
}

export class Opening {
  stopped = false;
  private underWay: Promise<void> | undefined;
  private retry: NodeJS.Timeout | undefined;
  private retryMs = retryMs.first;
  /** As performance.now() counts. */
  private openedAt = 0;

  constructor(private readonly parts: OpeningParts) {}

  /** Settles when every host runs, or the first one failed; never rejects. */
  now(): Promise<void> {
    clearTimeout(this.retry);
    this.underWay ??= this.open().finally(() => {
      this.underWay = undefined;
    });
    return this.underWay;
  }

  /** Settles when no host is being started. */
  async settled(): Promise<void> {
    await this.underWay;
  }

  /** The token left: new hosts look for it. */
  soon(): void {
    this.later(0);
  }

  /** After a host ended. @param absent  because the token left */
  again(absent: boolean): void {
    const crashesAtOnce = performance.now() - this.openedAt < retryMs.first;
    if (absent) this.later(searchMs);
    else if (crashesAtOnce) this.later(retryMs.first);
    else void this.now();
  }

  /** Starts no host any more. */
  stop(): void {
    this.stopped = true;
    clearTimeout(this.retry);
  }

  private async open(): Promise<void> {
    const { opened, failed } = this.parts;
    try {
      // One that ended while another opened is started again as well.
      for (let slot = this.closedSlot(); slot !== undefined; slot = this.closedSlot()) await slot.open();
      if (this.stopped) return;
      await opened();
      this.retryMs = retryMs.first;
      this.openedAt = performance.now();
    } catch (error) {
      const absent = error instanceof AgentError && error.code === 'TOKEN_ABSENT';
      failed(error, absent);
      this.later(absent ? searchMs : this.retryMs);
      if (!absent) this.retryMs = Math.min(this.retryMs * 2, retryMs.last);
    }
  }

  private closedSlot(): HostSlot | undefined {
    return this.stopped ? undefined : this.parts.slots.find(({ alive }) => !alive);
  }

  private later(ms: number): void {
    clearTimeout(this.retry);
    if (!this.stopped) this.retry = setTimeout(() => void this.now(), ms);
  }
}
