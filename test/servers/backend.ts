/** What stands behind haproxy and stunnel: an HTTP server on 127.0.0.1. */
import { once } from 'node:events';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import type { Cleanup } from '../support/cleanup.js';

/** @returns its port */
export async function startBackend(cleanup: Cleanup): Promise<number> {
  const server = createServer((_request, response) => response.end('a page of the backend\n'));
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  cleanup.after(() => {
    server.closeAllConnections();
    server.close();
  });
  return (server.address() as AddressInfo).port;
}
