/** `keyagent reload`: the agent reads its configuration again; if that is bad, it says so and goes on as it was. */
import type { Command } from 'commander';
import { requestTimeoutMs, type Session } from '../session.js';

export function addReload(program: Command, session: Session): void {
  program
    .command('reload')
    .description('read the configuration again')
    .action(async () => {
      const counts = await session.control((agent) =>
        agent.call('reload', {}, { timeoutMs: requestTimeoutMs }),
      );
      await session.print(counts, `configuration read: tokens ${counts.tokens}, rules ${counts.rules}\n`);
    });
}
