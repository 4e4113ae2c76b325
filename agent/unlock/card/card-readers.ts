/**
 * What the configured readers show. Each look, and each visit to a card, is a token host of its own that ends with it:
 * nobody holds a card that could be pulled.
 */
import { AgentError, formatPkcs11Uri } from '@keyagent/protocol';
import type { CardReaderConfig } from '../../config/config.js';
import type { CardIdentity } from './sealed-pin.js';
import { startHost, type Place } from './single-login.js';

export interface VisibleCard extends CardIdentity {
  /** Name in the configuration. */
  readonly reader: string;
  readonly flags: readonly string[];
}

export interface Look {
  readonly cards: readonly VisibleCard[];
  /** Of readers that could not be looked into. */
  readonly problems: readonly AgentError[];
}

export class CardReaders {
  /** @param configured  as the configuration has them now */
  constructor(private readonly configured: () => readonly CardReaderConfig[]) {}

  /** @throws AgentError CONFIGURATION without any reader */
  async look(): Promise<Look> {
    const readers = this.configured();
    if (readers.length === 0) {
      const advice = 'add one with name and module, and run "keyagent reload"';
      throw new AgentError('CONFIGURATION', `no [[card_reader]] is configured; ${advice}`);
    }
    const looks = await Promise.allSettled(readers.map(lookInto));
    return {
      cards: looks.flatMap((look) => (look.status === 'fulfilled' ? look.value : [])),
      problems: looks.flatMap((look, index) =>
        look.status === 'rejected' ? [problem(readers[index], look.reason)] : [],
      ),
    };
  }

  /** Where to find a card that was seen. @throws AgentError NOT_FOUND */
  place(name: string, { label, serial }: CardIdentity): Place {
    const reader = this.configured().find((each) => each.name === name);
    if (reader === undefined) throw new AgentError('NOT_FOUND', `no card reader is named "${name}"`);
    const { module, env } = reader;
    return { what: `card ${label}`, module, env, uri: formatPkcs11Uri({ token: label, serial }) };
  }
}

async function lookInto({ name, module, uri, env }: CardReaderConfig): Promise<VisibleCard[]> {
  const host = startHost({ what: `card reader ${name}`, env });
  try {
    const { tokens } = await host.call('tokens', { module, uri });
    return tokens.map(({ label, serial, flags }) => ({ reader: name, label, serial, flags }));
  } finally {
    host.kill();
  }
}

function problem(reader: CardReaderConfig | undefined, error: unknown): AgentError {
  const code = error instanceof AgentError ? error.code : 'INTERNAL';
  const why = error instanceof Error ? error.message : String(error);
  return new AgentError(code, `card reader ${reader?.name ?? ''}: ${why}`, { cause: error });
}
