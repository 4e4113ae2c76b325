/** `keyagent keys`: the keys that this user may see, as URIs to copy. */
import type { Command } from 'commander';
import { allKeys, type Key } from '../all-keys.js';
import type { Session } from '../session.js';
import { textTable } from '../text-table.js';

export function addKeys(program: Command, session: Session): void {
  program
    .command('keys')
    .description('list the keys that you may see')
    .action(async () => {
      const keys = await session.client(allKeys);
      const rows = keys.map((key) => [key.uri, key.algorithm, String(key.bits), stateOf(key)]);
      await session.print({ keys }, textTable(['URI', 'ALGORITHM', 'BITS', 'STATE'], rows));
    });
}

/** A key that asks for the PIN at every use works with retain_pin only. */
function stateOf({ state, always_authenticate: always }: Key): string {
  return always === true ? `${state}, PIN at each use` : state;
}
