/**
 * What a place that holds a token's PIN looks like to the broker. One file per source; the broker knows only this.
 */
import type { SourceName } from '@keyagent/protocol';

export interface PinSource {
  readonly name: SourceName;
  /** It depends on others, such as servers, that may be back soon: worth asking again without hands. */
  readonly mayRecover?: boolean;
  /**
   * Fetches the PIN once; never retries.
   * @returns 1 to limits.pin bytes in memory of their own, which the caller wipes
   * @throws AgentError SOURCE_FAILED with what the operator can do, also when `signal` ended the wait
   */
  pin(signal: AbortSignal): Promise<Buffer>;
}
