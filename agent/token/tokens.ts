/** All tokens: finds the one key that a URI selects. */
import { AgentError, parsePkcs11Uri, refuseSelectorQuery, type Pkcs11Uri } from '@keyagent/protocol';
import type { Cancellation } from '../cancellation.js';
import type { Hold } from './availability.js';
import { selects, type ServedKey } from './served-key.js';
import type { Token } from './token.js';

export interface Found {
  readonly token: Token;
  readonly key: ServedKey;
}

/** Selectors that are remembered with what they selected; cleared when any token's keys change. */
const rememberedMax = 1024;

export class Tokens {
  private readonly remembered = new Map<string, Found>();
  /** The key lists that `remembered` was made from. */
  private lists: readonly (readonly ServedKey[])[] = [];

  constructor(readonly all: readonly Token[]) {}

  /** The token of this name; without a name the only one. */
  named(name: string | undefined): Token {
    if (name === undefined) {
      const [only, ...more] = this.all;
      if (only !== undefined && more.length === 0) return only;
      throw new AgentError('AMBIGUOUS', `name one of the tokens: ${this.names()}`);
    }
    const token = this.all.find((candidate) => candidate.name === name);
    if (token === undefined)
      throw new AgentError('NOT_FOUND', `no token is named "${name}"; there are: ${this.names()}`);
    return token;
  }

  *keys(): Iterable<Found> {
    for (const token of this.all) for (const key of token.keys) yield { token, key };
  }

  /**
   * The one key that the URI selects among those that the asker may know. What it may not know changes no answer.
   * Throws INVALID, AMBIGUOUS with the candidates, LOCKED while a token's keys are not all known, DENIED to whom some
   * keys are hidden, else NOT_FOUND.
   */
  find(text: string, visible: (key: ServedKey) => boolean): Found {
    const remembered = this.recall(text, visible);
    if (remembered !== undefined) return remembered;
    const uri = parsePkcs11Uri(text);
    refuseSelectorQuery(uri);
    const matching = [...this.keys()].filter(({ key }) => selects(uri, key));
    const [found, ...more] = matching.filter(({ key }) => visible(key));
    if (found === undefined) throw this.nothingMatches(uri, visible);
    if (more.length > 0) throw ambiguous(text, [found, ...more]);
    if (matching.length === 1) this.remember(text, found);
    return found;
  }

  /**
   * The same, for a key that may be among those of a token that is being opened or unlocked: a server that starts beside
   * the agent waits for it.
   * @param withinMs   the longest wait
   * @param hold       what the wait goes through
   * @returns no promise for one that is found at once, as nearly all are
   */
  findAwaited(
    text: string,
    visible: (key: ServedKey) => boolean,
    cancellation: Cancellation,
    withinMs: number,
    hold: Hold,
  ): Found | Promise<Found> {
    return this.recall(text, visible) ?? this.search(text, visible, cancellation, withinMs, hold);
  }

  private async search(
    text: string,
    visible: (key: ServedKey) => boolean,
    cancellation: Cancellation,
    withinMs: number,
    hold: Hold,
  ): Promise<Found> {
    const deadline = performance.now() + withinMs;
    for (;;) {
      try {
        return this.find(text, visible);
      } catch (error) {
        const awaited = this.all.filter((token) => !token.complete && token.isAwaited);
        const leftMs = deadline - performance.now();
        if (!mayAppear(error) || awaited.length === 0 || leftMs <= 0) throw error;
        await hold(
          () => error,
          () => Promise.race(awaited.map((token) => token.nextChange(cancellation, leftMs))),
        );
      }
    }
  }

  private recall(text: string, visible: (key: ServedKey) => boolean): Found | undefined {
    this.forgetIfChanged();
    const hit = this.remembered.get(text);
    return hit !== undefined && visible(hit.key) ? hit : undefined;
  }

  private remember(text: string, found: Found): void {
    if (this.remembered.size >= rememberedMax) this.remembered.clear();
    this.remembered.set(text, found);
  }

  private forgetIfChanged(): void {
    if (this.all.every(({ keys }, i) => keys === this.lists[i])) return;
    this.lists = this.all.map(({ keys }) => keys);
    this.remembered.clear();
  }

  private nothingMatches(uri: Pkcs11Uri, visible: (key: ServedKey) => boolean): AgentError {
    const unknown = this.all.find(({ complete }) => !complete);
    if (unknown === undefined) {
      const allKnown = [...this.keys()].every(({ key }) => visible(key));
      if (allKnown)
        return new AgentError('NOT_FOUND', `no key matches ${uri.text}; "keyagent keys" lists them`);
      const message = `no rule allows you a key that matches ${uri.text}; "keyagent keys" lists those that you may use`;
      return new AgentError('DENIED', message);
    }
    if (unknown.state === 'absent') return unknown.reason();
    return new AgentError(
      'LOCKED',
      `no key that is known so far matches ${uri.text}; unlock ${unknown.name} once so that all its keys are known`,
    );
  }

  private names(): string {
    return this.all.map(({ name }) => name).join(', ');
  }
}

/** Some token's keys are not all known. */
function mayAppear(error: unknown): error is AgentError {
  return error instanceof AgentError && (error.code === 'TOKEN_ABSENT' || error.code === 'LOCKED');
}

function ambiguous(text: string, candidates: readonly Found[]): AgentError {
  return new AgentError('AMBIGUOUS', `${text} matches more than one key; name one of them`, {
    candidates: candidates.map(({ key }) => key.uri),
  });
}
