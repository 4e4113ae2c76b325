/** `keyagent lock [TOKEN]`: logs out, and keeps automatic sources away until an operator unlocks. */
import type { Command } from 'commander';
import { requestTimeoutMs, type Session } from '../session.js';

export function addLock(program: Command, session: Session): void {
  program
    .command('lock')
    .argument('[token]', 'name of the token; without it every token is locked')
    .description('log out; nothing but "keyagent unlock" logs in again')
    .action(async (token: string | undefined) => {
      const params = token === undefined ? {} : { token };
      const { tokens } = await session.control((agent) =>
        agent.call('lock', params, { timeoutMs: requestTimeoutMs }),
      );
      await session.print({ tokens }, tokens.map((name) => `${name} locked\n`).join(''));
    });
}
