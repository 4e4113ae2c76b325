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
const waitsForOperator = 'waits for an operator';

export class SourceAnswers {
  private readonly latest = new Map<SourceName, SourceAnswer>();

  constructor(
    private readonly token: string,
    private readonly sourceOf: (name: SourceName) => PinSource | undefined,
    private readonly log: Log,
  ) {}

  list(): readonly SourceAnswer[] {
    return [...this.latest.values()];
  }

  /** The last one; that the prompt waits only if nobody said more. */
  get last(): SourceAnswer | undefined {
    const all = this.list();
    return all.findLast(({ result }) => result !== waitsForOperator) ?? all.at(-1);
  }

  note(source: SourceName, result: string): void {
    this.latest.delete(source);
    this.latest.set(source, { source, result, at: Date.now() });
    this.log.info(`PIN source: ${result}`, { token: this.token, source });
  }

  /** The prompt asks nobody: from now on any operator may come. */
  awaitOperator(): void {
    this.note('prompt', waitsForOperator);
  }

  /** After a login that the token refused. */
  refused(source: SourceName, why: string): void {
    this.note(source, source === 'prompt' ? `${why}; ${waitsForOperator}` : why);
  }

  /** After a login that succeeded: nobody is waited for any more. */
  unlocked(source: SourceName): void {
    if (this.latest.get('prompt')?.result.endsWith(waitsForOperator) === true) this.latest.delete('prompt');
    this.note(source, 'unlocked the token');
  }

  /** Whether a source that failed is worth asking again without hands. */
  mayRecover(name: SourceName): boolean {
    return this.sourceOf(name)?.mayRecover ?? false;
  }

  /**
   * @param signal ends the wait early; its reason is what the source is then said to have answered
   * @returns a PIN that the caller wipes; rejects with SOURCE_FAILED
   */
  async ask(name: SourceName, signal?: AbortSignal): Promise<Buffer> {
    const end = new AbortController();
    const onAbort = (): void => {
      end.abort(signal?.reason);
    };
    const timer = setTimeout(onAbort, sourceTimeoutMs);
    signal?.addEventListener('abort', onAbort, { once: true });
    try {
      signal?.throwIfAborted();
      const source = this.sourceOf(name);
      if (source === undefined)
        throw new AgentError('SOURCE_FAILED', `this version cannot ask ${name} for a PIN`);
      return await source.pin(end.signal);
    } catch (error) {
      const why: unknown = signal?.aborted === true ? signal.reason : error;
      this.note(name, why instanceof Error ? why.message : String(why));
      throw why;
    } finally {
      clearTimeout(timer);
      signal?.removeEventListener('abort', onAbort);
    }
  }
}
