/** `keyagent reload`: the agent reads its configuration again; if that is bad, it says so and goes on as it was. */
import type { Result } from '@keyagent/protocol';
import type { Command } from 'commander';
import { requestTimeoutMs, type Session } from '../session.js';

export function addReload(program: Command, session: Session): void {
  program
    .command('reload')
    .description('read the configuration again')
    .action(async () => {
      const result = await session.control((agent) =>
        agent.call('reload', {}, { timeoutMs: requestTimeoutMs }),
      );
      await session.print(result, `${linesOf(result).join('\n')}\n`);
    });
}

function linesOf(result: Result<'reload'>): string[] {
  const rules = result.rules_changed ? 'changed' : 'as before';
  return [
    `configuration read: tokens ${result.tokens}, rules ${result.rules} (${rules})`,
    ...result.added.map((token) => `${token} added`),
    ...result.removed.map((token) => `${token} removed`),
    ...result.replaced.map((token) => `${token} replaced: it needs another login`),
    ...[...result.changed, ...result.settings].map((name) => `${name} changed`),
  ];
}
