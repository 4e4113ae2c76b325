/** The PIN that a token was unlocked with, kept for host restarts when retain_pin allows it; wiped at lock and stop. */
import type { SourceName } from '@keyagent/protocol';
import { secretCopy, wipe } from './secret-bytes.js';

export class RetainedPin {
  private kept: { source: SourceName; pin: Buffer } | undefined;

  keep(source: SourceName, pin: Uint8Array): void {
    this.wipe();
    this.kept = { source, pin: secretCopy(pin) };
  }

  get isKept(): boolean {
    return this.kept !== undefined;
  }

  /** A copy that the caller wipes. */
  copy(): { source: SourceName; pin: Buffer } | undefined {
    return this.kept && { source: this.kept.source, pin: secretCopy(this.kept.pin) };
  }

  wipe(): void {
    wipe(this.kept?.pin);
    this.kept = undefined;
  }
}
