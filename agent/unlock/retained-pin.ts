/** The PIN that a token was unlocked with, kept for host restarts when retain_pin allows it; wiped at lock and stop. */
import type { SourceName } from '@keyagent/protocol';

export class RetainedPin {
  private kept: { source: SourceName; pin: Buffer } | undefined;

  keep(source: SourceName, pin: Uint8Array): void {
    this.wipe();
    const own = Buffer.allocUnsafeSlow(pin.length);
    own.set(pin);
    this.kept = { source, pin: own };
  }

  /** A copy that the caller wipes. */
  copy(): { source: SourceName; pin: Buffer } | undefined {
    if (this.kept === undefined) return undefined;
    const pin = Buffer.allocUnsafeSlow(this.kept.pin.length);
    this.kept.pin.copy(pin);
    return { source: this.kept.source, pin };
  }

  wipe(): void {
    this.kept?.pin.fill(0);
    this.kept = undefined;
  }
}
