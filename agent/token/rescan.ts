/**
 * Reads the keys of a token again: when somebody asks, and from time to time. One reading at a time, and never more
 * than a small part of the token's time.
 */

/** A reading may take this part of the time: on a slow token the pauses grow. */
const share = 1 / 20;

export class Rescan {
  private running: Promise<void> | undefined;
  private next: Promise<void> | undefined;
  private timer: NodeJS.Timeout | undefined;
  private stopped = false;

  /**
   * @param read     reads them once
   * @param everyMs  the shortest pause between two readings, as it is configured now; 0: only when somebody asks
   * @param failed   told of a reading that nobody waits for
   */
  constructor(
    private readonly read: () => Promise<void>,
    private readonly everyMs: () => number,
    private readonly failed: (error: unknown) => void,
  ) {}

  /** Who asks while a reading runs waits for the next one: that one may have passed what changed. */
  now(): Promise<void> {
    if (this.running === undefined) return this.run();
    this.next ??= this.running
      .catch(() => undefined)
      .then(() => {
        this.next = undefined;
        return this.run();
      });
    return this.next;
  }

  /** The same, for nobody who waits. */
  soon(): void {
    this.now().catch(this.failed);
  }

  stop(): void {
    this.stopped = true;
    clearTimeout(this.timer);
  }

  private run(): Promise<void> {
    clearTimeout(this.timer);
    const startedAt = performance.now();
    this.running = this.read().finally(() => {
      this.running = undefined;
      this.later((performance.now() - startedAt) / share);
    });
    return this.running;
  }

  private later(atLeastMs: number): void {
    const everyMs = this.everyMs();
    if (this.stopped || everyMs === 0) return;
    this.timer = setTimeout(
      () => {
        this.soon();
      },
      Math.max(everyMs, atLeastMs),
    ).unref();
  }
}
