/** `keyagent stop`: ends the agent. Automatic sources stay away until an operator unlocks, whatever starts it again. */
import type { Command } from 'commander';
import { requestTimeoutMs, type Session } from '../session.js';

export function addStop(program: Command, session: Session): void {
  program
    .command('stop')
    .description('log out of every token and end the agent')
    .action(async () => {
      await session.control((agent) => agent.call('stop', {}, { timeoutMs: requestTimeoutMs }));
      await session.print({ stopping: true }, 'keyagent is stopping\n');
    });
}
