/** Operators who are being asked for the PIN of one token, on a terminal or through systemd-ask-password, as they tell. */
import { AgentError } from '@keyagent/protocol';
import type { Cancellation } from '../cancellation.js';
import type { Peer } from '../policy/peer.js';
import type { Token } from '../token/token.js';

export interface Prompt {
  readonly peer: Peer;
  /** Milliseconds since 1970. */
  readonly since: number;
}

const promptsMax = 64;

export class Prompts {
  private readonly waiting = new Map<Prompt, { unlocked: () => void; failed: (error: AgentError) => void }>();

  constructor(private readonly token: Token) {
    token.on('state', (state) => {
      if (state === 'unlocked') for (const { unlocked } of this.waiting.values()) unlocked();
    });
  }

  list(): readonly Prompt[] {
    return [...this.waiting.keys()];
  }

  /** Resolves once the token is unlocked, by whomever; rejects with the reason of `cancellation`, BUSY or STOPPING. */
  async wait(peer: Peer, cancellation: Cancellation): Promise<void> {
    if (this.token.state === 'unlocked') return;
    if (this.waiting.size >= promptsMax)
      throw new AgentError('BUSY', 'too many operators are asked for this PIN already');
    cancellation.throwIfCancelled();
    const prompt = { peer, since: Date.now() };
    try {
      await new Promise<void>((resolve, reject) => {
        this.waiting.set(prompt, { unlocked: resolve, failed: reject });
        cancellation.onCancel(reject);
      });
    } finally {
      this.waiting.delete(prompt);
    }
  }

  /** Nobody need wait any more: the agent, or its serving of this token, ends. */
  stop(why: string): void {
    const ended = new AgentError('STOPPING', why);
    for (const { failed } of this.waiting.values()) failed(ended);
  }
}
