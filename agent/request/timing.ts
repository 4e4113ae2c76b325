/** How long one operation waited, and how long the token took: for the audit log. */

export class Timing {
  private readonly startedAt = performance.now();
  private sentAt: number | undefined;
  private endedAt = 0;

  /** A host gets the operation. */
  sent(): void {
    this.sentAt = performance.now();
  }

  end(): void {
    this.endedAt = performance.now();
  }

  /** Microseconds until a host got it. An operation that none got has waited all the time. */
  get queueUs(): number {
    return microseconds(this.startedAt, this.sentAt ?? this.endedAt);
  }

  /** Microseconds until the host answered. */
  get tokenUs(): number | undefined {
    return this.sentAt === undefined ? undefined : microseconds(this.sentAt, this.endedAt);
  }
}

function microseconds(from: number, to: number): number {
  return Math.round((to - from) * 1000);
}
