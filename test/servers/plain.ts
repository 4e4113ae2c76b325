/** A client without TLS. */
import { once } from 'node:events';
import { get } from 'node:http';
import type { IncomingMessage } from 'node:http';

/** One page over a connection of its own. Rejects unless the answer is 200. */
export async function fetchPlain(port: number): Promise<void> {
  const asked = get({ host: '127.0.0.1', port, agent: false });
  const [response] = (await once(asked, 'response')) as [IncomingMessage];
  response.resume();
  if (response.statusCode !== 200) throw new Error(`HTTP ${String(response.statusCode)}`);
  await once(response, 'end');
}
