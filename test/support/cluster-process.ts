/**
 * An HTTPS server in two workers of node:cluster: `node cluster-process.js CERTIFICATES KEY PORT`. Each answers with its
 * pid. The parent says "ready" once both listen, and ends with them on SIGTERM.
 */
import cluster from 'node:cluster';
import { once } from 'node:events';
import { readFileSync } from 'node:fs';
import { createServer } from 'node:https';

const [, , certificates = '', key = '', port = ''] = process.argv;

if (cluster.isPrimary) {
  const workers = [cluster.fork(), cluster.fork()];
  await Promise.all(workers.map((worker) => once(worker, 'listening')));
  console.log('ready');
  process.once('SIGTERM', () => {
    for (const worker of workers) worker.kill();
  });
} else {
  const options = { cert: readFileSync(certificates), key: readFileSync(key) };
  createServer(options, (_request, response) => response.end(String(process.pid))).listen(
    Number(port),
    '127.0.0.1',
  );
}
