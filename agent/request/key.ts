/** key: the public data of one key, for whoever some rule names and for root. Works while the token is locked. */
import { AgentError, mechanisms, type Mechanism, type Params, type Result } from '@keyagent/protocol';
import { mayBeUsed, mayUse, operationOf } from '../policy/authorise.js';
import type { Asker, Context } from './context.js';
import { withDeadline } from './deadline.js';
import { findKey } from './use-key.js';

export async function key(params: Params<'key'>, asker: Asker, context: Context): Promise<Result<'key'>> {
  const { token, key: found } = await withDeadline(context.requestTimeoutMs, asker.cancellation, async () =>
    findKey(params.uri, asker, context),
  );
  if (found.state === 'mismatch') {
    throw new AgentError(
      'KEY_MISMATCH',
      `the public key or certificate of ${found.uri} belongs to another private key; replace it in the token, then unlock`,
    );
  }
  const can = [...found.mechanisms, ...found.completed];
  const allowed = (mechanism: Mechanism): boolean => {
    const use = { operation: operationOf(mechanism), mechanism };
    return mayUse(asker.peer, found.attributes, use, context.rules);
  };
  return {
    uri: found.uri,
    token: token.name,
    token_state: token.state,
    state: found.state,
    algorithm: found.algorithm,
    bits: found.bits,
    spki: found.spki,
    certificates: certificatesThatFit(found.certificates),
    mechanisms: mechanisms.filter((mechanism) => can.includes(mechanism) && allowed(mechanism)),
    completed: found.completed,
    usable: mayBeUsed(found.attributes, can, context.rules),
  };
}

/** What one reply carries of a chain: count, bytes of one and of all. The rest stays with the server's chain file. */
const carried = { certificates: 8, one: 8192, all: 12_288 };

function certificatesThatFit(chain: readonly Uint8Array[]): readonly Uint8Array[] {
  let total = 0;
  const end = chain.findIndex((der) => der.length > carried.one || (total += der.length) > carried.all);
  return chain.slice(0, Math.min(carried.certificates, end === -1 ? chain.length : end));
}
