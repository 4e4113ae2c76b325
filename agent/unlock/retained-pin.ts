/**
 * The PIN that a token was unlocked with, where retain_pin allows it: for host restarts and for keys that ask for it at
 * every use. In locked memory; wiped at lock, at stop, and when the token refused it.
 */
import type { SourceName } from '@keyagent/protocol';
import type { Attempt } from './pin-budget.js';
import { secretCopy, wipe } from './secret-bytes.js';

export interface Kept {
  readonly source: SourceName;
  readonly pin: Buffer;
}

export class RetainedPin {
  private kept: (Kept & { attempt?: Attempt }) | undefined;

  keep(source: SourceName, pin: Uint8Array): void {
    this.wipe();
    this.kept = { source, pin: secretCopy(pin) };
  }

  get isKept(): boolean {
    return this.kept !== undefined;
  }

  /** A copy that the caller wipes: a lock may come while it is used. */
  copy(): Kept | undefined {
    return this.kept && { source: this.kept.source, pin: secretCopy(this.kept.pin) };
  }

  /** What the PIN budget writes down of it, made once. */
  attempt(make: (pin: Uint8Array) => Attempt): Attempt | undefined {
    return this.kept && (this.kept.attempt ??= make(this.kept.pin));
  }

  wipe(): void {
    wipe(this.kept?.pin);
    this.kept = undefined;
  }
}
