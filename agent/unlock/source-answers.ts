/** Asks the PIN sources of one token, and keeps what each answered last, for `keyagent status` and `sources`. */
import { AgentError, type SourceName } from '@keyagent/protocol';
import type { Log } from '../log.js';
import type { PinSource } from './sources/pin-source.js';

export interface SourceAnswer {
  readonly source: SourceName;
  readonly result: string;
  /** Milliseconds since 1970. */
  readonly at: number;
}

/** A source answers in this time or not at all, in milliseconds. */
const sourceTimeoutMs = 30_000;

export class SourceAnswers {
  private readonly latest = new Map<SourceName, SourceAnswer>();

  constructor(
    private readonly token: string,
    private readonly sourceOf: (name: SourceName) => PinSource | undefined,
    private readonly log: Log,
  ) {}

  /** Oldest first. */
  list(): readonly SourceAnswer[] {
    return [...this.latest.values()];
  }

  note(source: SourceName, result: string): void {
    this.latest.delete(source);
    this.latest.set(source, { source, result, at: Date.now() });
    this.log.info(`PIN source: ${result}`, { token: this.token, source });
  }

  /** @returns a PIN that the caller wipes; rejects with SOURCE_FAILED */
  async ask(name: SourceName): Promise<Buffer> {
    try {
      const source = this.sourceOf(name);
      if (source === undefined)
        throw new AgentError('SOURCE_FAILED', `this version cannot ask ${name} for a PIN`);
      return await source.pin(AbortSignal.timeout(sourceTimeoutMs));
    } catch (error) {
      this.note(name, error instanceof Error ? error.message : String(error));
      throw error;
    }
  }
}
