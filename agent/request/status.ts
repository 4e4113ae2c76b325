/** status, for clients: which tokens there are and whether they are unlocked; nothing that helps a stranger. */
import type { Params, Result } from '@keyagent/protocol';
import type { Asker, Context } from './context.js';

export function status(
  _params: Params<'status'>,
  _asker: Asker,
  context: Context,
): Promise<Result<'status'>> {
  return Promise.resolve({
    agent: context.agent,
    pid: process.pid,
    uptime: Math.floor(process.uptime()),
    revoked: context.isRevoked(),
    tokens: context.tokens.all.map(({ name, state }) => ({ name, state })),
  });
}
