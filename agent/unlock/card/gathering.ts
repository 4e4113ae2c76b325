/**
 * The cards that operators have given so far for one deed. They come from different terminals, so they wait here, in
 * the agent: what a card gave is wiped when the deed is done or refused, when too long a time passes, at every lock, and at
 * stop.
 */
import { AgentError } from '@keyagent/protocol';
import { wipe } from '../secret-bytes.js';
import { isSameCard } from './choose-card.js';
import type { CardIdentity } from './sealed-pin.js';

/** Since the last card, milliseconds. */
export const gatheringMs = 10 * 60_000;

export interface Progress {
  readonly given: number;
  readonly needed: number;
}

export interface Given {
  readonly card: CardIdentity;
  /** A share, or the public key of a card that is being enrolled. */
  readonly what: Buffer;
}

export class Gathering {
  private readonly given: Given[] = [];
  /** Given, or being given: a card that is asked for its PIN at one terminal is not asked at another. */
  private readonly reserved: CardIdentity[] = [];
  private timer: NodeJS.Timeout;
  private over = false;

  constructor(
    readonly needed: number,
    private readonly limitMs = gatheringMs,
  ) {
    this.timer = this.limit();
  }

  get ended(): boolean {
    return this.over;
  }

  get cards(): readonly CardIdentity[] {
    return this.given.map(({ card }) => card);
  }

  /** @throws AgentError CANCELLED when it ended */
  get contents(): readonly Given[] {
    this.requireOpen();
    return this.given;
  }

  get progress(): Progress {
    return { given: this.given.length, needed: this.needed };
  }

  /**
   * Asks a card while no other terminal can. What it gives is this gathering's from then on.
   * @returns true for the one card that completes it
   * @throws AgentError CANCELLED when the gathering ended meanwhile; what `ask` throws
   */
  async add(card: CardIdentity, ask: () => Promise<Buffer>): Promise<boolean> {
    this.requireOpen();
    if (this.reserved.some((each) => isSameCard(each, card))) {
      throw new AgentError(
        'INVALID',
        `card ${card.label} is being given at another terminal; give another one`,
      );
    }
    this.reserved.push(card);
    let what: Buffer;
    try {
      what = await ask();
    } catch (error) {
      this.reserved.splice(this.reserved.indexOf(card), 1);
      throw error;
    }
    return this.take({ card, what });
  }

  /** Wipes it; what is still being asked for comes too late. */
  end(): void {
    this.over = true;
    clearTimeout(this.timer);
    for (const { what } of this.given.splice(0)) wipe(what);
  }

  private take(given: Given): boolean {
    if (this.over || this.given.length === this.needed) {
      wipe(given.what);
      this.requireOpen();
      throw new AgentError('INVALID', `card ${given.card.label} is not needed any more; there are enough`);
    }
    this.given.push(given);
    clearTimeout(this.timer);
    this.timer = this.limit();
    return this.given.length === this.needed;
  }

  private requireOpen(): void {
    if (!this.over) return;
    const why = 'the token was locked or unlocked meanwhile, or the cards waited too long';
    throw new AgentError('CANCELLED', `the cards given so far are forgotten: ${why}; begin again`);
  }

  private limit(): NodeJS.Timeout {
    return setTimeout(() => {
      this.end();
    }, this.limitMs).unref();
  }
}
