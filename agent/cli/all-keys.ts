/** Every key that the asking user may see, page by page. */
import type { Caller, Result } from '@keyagent/protocol';
import { requestTimeoutMs } from './session.js';

export type Key = Result<'keys'>['keys'][number];

export async function allKeys(agent: Caller): Promise<Key[]> {
  const keys: Key[] = [];
  for (let after: string | undefined; ; after = keys.at(-1)?.uri) {
    const page = await agent.call('keys', after === undefined ? {} : { after }, {
      timeoutMs: requestTimeoutMs,
    });
    keys.push(...page.keys);
    // An agent that promises more but sends nothing would keep us here for ever.
    if (!page.more || page.keys.length === 0) return keys;
  }
}
