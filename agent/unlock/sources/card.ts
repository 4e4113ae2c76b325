/**
 * PIN source "card": operators' cards (../card). They need hands, so this never gives a PIN by itself: it says what it
 * takes, and `keyagent unlock --source card` brings it.
 */
import { AgentError } from '@keyagent/protocol';
import { CardSetFile } from '../card/card-set-file.js';
import type { PinSource } from './pin-source.js';

export class CardSource implements PinSource {
  readonly name = 'card';

  constructor(
    private readonly stateDir: string,
    private readonly token: string,
  ) {}

  pin(): Promise<never> {
    return Promise.reject(new AgentError('SOURCE_FAILED', this.#answer()));
  }

  #answer(): string {
    try {
      const { quorum, cards } = new CardSetFile(this.stateDir, this.token).require();
      return `waits for ${quorum} of ${cards.length} cards; run "keyagent unlock ${this.token} --source card"`;
    } catch (error) {
      return error instanceof Error ? error.message : String(error);
    }
  }
}
