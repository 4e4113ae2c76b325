/** `keyagent keys`: the keys that this user may see, as URIs to copy. */
import type { Caller, Result } from '@keyagent/protocol';
import type { Command } from 'commander';
import { requestTimeoutMs, type Session } from '../session.js';
import { textTable } from '../text-table.js';

type Key = Result<'keys'>['keys'][number];

export function addKeys(program: Command, session: Session): void {
  program
    .command('keys')
    .description('list the keys that you may see')
    .action(async () => {
      const keys = await session.client(allKeys);
      const rows = keys.map(({ uri, algorithm, bits, state }) => [uri, algorithm, String(bits), state]);
      await session.print({ keys }, textTable(['URI', 'ALGORITHM', 'BITS', 'STATE'], rows));
    });
}

async function allKeys(agent: Caller): Promise<Key[]> {
  const keys: Key[] = [];
  for (let after: string | undefined; ; after = keys.at(-1)?.uri) {
    const page = await agent.call('keys', after === undefined ? {} : { after }, {
      timeoutMs: requestTimeoutMs,
    });
    keys.push(...page.keys);
    // An agent that promises more but sends nothing would keep us here for ever.
    if (!page.more || page.keys.length === 0) return keys;
  }
}
