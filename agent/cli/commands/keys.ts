/** `keyagent keys`: the keys that this user may see, as URIs to copy. */
import type { Command } from 'commander';
import { allKeys } from '../all-keys.js';
import type { Session } from '../session.js';
import { textTable } from '../text-table.js';

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
