/** Looks a key up for a command that only writes its URI down, so that a slip shows there and not when a server starts. */
import { AgentError, type ErrorCode } from '@keyagent/protocol';
import type { Session } from './session.js';

/** These say something about the key or its URI; other failures say only that it could not be looked up. */
const aboutTheKey: readonly ErrorCode[] = ['INVALID', 'NOT_FOUND', 'AMBIGUOUS'];

/** @param what   is good even if nobody answers: "reference" */
export async function lookUp(uri: string, what: string, session: Session): Promise<void> {
  try {
    await session.client((agent) => agent.call('key', { uri }, { timeoutMs: 10_000 }));
  } catch (error) {
    if (!(error instanceof AgentError) || aboutTheKey.includes(error.code)) throw error;
    session.warn(`the ${what} is good, but its key was not looked up: ${error.message}`);
  }
}
