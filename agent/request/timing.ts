/** How long one operation waited, and how long the token took. Output: microseconds, for the audit log. */

export class Timing {
  private readonly startedAt = performance.now();
  private sentAt: number | undefined;

  readonly sent = (): void => {
    this.sentAt = performance.now();
  };

  /** An operation that never reached a token has waited all the time. */
  durations(): { queueUs: number; tokenUs: number | undefined } {
    const { startedAt, sentAt } = this;
    const now = performance.now();
    return {
      queueUs: microseconds(startedAt, sentAt ?? now),
      tokenUs: sentAt === undefined ? undefined : microseconds(sentAt, now),
    };
  }
}

function microseconds(from: number, to: number): number {
  return Math.round((to - from) * 1000);
}
