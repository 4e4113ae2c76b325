/** What the rules say to somebody who need not exist: asked of the running agent, where none runs of the configuration. */
import { AgentError, type Params, type Result } from '@keyagent/protocol';
import { configuredAccess } from './configured-access.js';
import { requestTimeoutMs, type Session } from './session.js';

export type Access = Result<'check-access'> & { allowed: boolean; source: string };

export async function accessOf(params: Params<'check-access'>, session: Session): Promise<Access> {
  try {
    const result = await session.control((agent) =>
      agent.call('check-access', params, { timeoutMs: requestTimeoutMs }),
    );
    return { ...result, allowed: isAllowed(result), source: 'the rules of the running agent' };
  } catch (error) {
    if (!(error instanceof AgentError) || error.code !== 'UNAVAILABLE') throw error;
    const { result, file } = configuredAccess(params, session.options().config, session.around, error);
    return { ...result, allowed: isAllowed(result), source: `${file} (no agent runs)` };
  }
}

function isAllowed({ rules }: Result<'check-access'>): boolean {
  return rules.some(({ verdict }) => verdict === 'allows' || verdict === 'purpose-only');
}
