/** keys: lists, page by page in the order of their URIs, the keys that the asker may know. */
import type { Params, Result } from '@keyagent/protocol';
import { mayKnow } from '../policy/authorise.js';
import type { Asker, Context } from './context.js';

/** Keys of one page; URIs in bytes, so that the reply fits into a frame however long they are. */
const page = { keys: 32, bytes: 12_288 };

export function keys(
  params: Params<'keys'>,
  { peer }: Asker,
  { tokens, rules }: Context,
): Promise<Result<'keys'>> {
  const { after } = params;
  const known = [...tokens.keys()]
    .map(({ key }) => key)
    .filter((key) => mayKnow(peer, key.attributes, rules) && (after === undefined || key.uri > after))
    .sort((a, b) => (a.uri < b.uri ? -1 : 1));
  let bytes = 0;
  const fitting = known.slice(0, page.keys).filter(({ uri }) => (bytes += uri.length) <= page.bytes);
  return Promise.resolve({
    keys: fitting.map(({ uri, algorithm, bits, state, alwaysAuthenticate }) => ({
      uri,
      algorithm,
      bits,
      state,
      ...(alwaysAuthenticate && { always_authenticate: true }),
    })),
    more: known.length > fitting.length,
  });
}
