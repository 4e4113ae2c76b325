/** `keyagent stop`: ends the agent. Automatic sources stay away until an operator unlocks, whatever starts it again. */
import { once } from 'node:events';
import { AgentError } from '@keyagent/protocol';
import type { Command } from 'commander';
import { requestTimeoutMs, type Session } from '../session.js';

export function addStop(program: Command, session: Session): void {
  program
    .command('stop')
    .description('log out of every token and end the agent')
    .action(async () => {
      await session.control(async (agent) => {
        await agent.call('stop', {}, { timeoutMs: requestTimeoutMs });
        // It hangs up last, when the next agent may start.
        if (agent.closed) return;
        await once(agent, 'close', { signal: AbortSignal.timeout(requestTimeoutMs) }).catch(notEnded);
      });
      await session.print({ stopped: true }, 'keyagent has stopped\n');
    });
}

function notEnded(cause: unknown): never {
  const message = `the agent stops, but has not ended in ${requestTimeoutMs / 1000} s; wait, or end it with SIGKILL`;
  throw new AgentError('TIMEOUT', message, { cause });
}
