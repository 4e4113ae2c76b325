/** Worker threads, each with a client of its own; one is terminated with calls in flight, and nobody else notices. */
import assert from 'node:assert/strict';
import { verify } from 'node:crypto';
import { once } from 'node:events';
import { isMainThread, parentPort, Worker, workerData } from 'node:worker_threads';
import { connect } from '@keyagent/client';

const client = await connect();
const key = await client.key(process.env.KEY_URI);
const message = Buffer.from('message');

if (isMainThread) {
  const doomed = new Worker(new URL(import.meta.url), { workerData: 'busy' });
  await once(doomed, 'message');
  const threads = [1, 2, 3].map(() => new Worker(new URL(import.meta.url)));
  const ended = threads.map((thread) => once(thread, 'exit'));
  const answers = Promise.all(threads.map((thread) => once(thread, 'message')));
  await doomed.terminate();
  for (const [{ publicKey, signatures }] of await answers) {
    assert(publicKey.equals(key.publicKey));
    assert.equal(signatures.length, 50);
    for (const signature of signatures) assert(verify('sha256', message, publicKey, signature));
  }
  assert.deepEqual(await Promise.all(ended), [[0], [0], [0]]);
  await key.sign('ecdsa-sha256', message);
  console.log('good');
} else if (workerData === 'busy') {
  parentPort.postMessage('busy');
  for (;;) await Promise.all(Array.from({ length: 20 }, () => key.sign('ecdsa-sha256', message)));
} else {
  const signatures = await Promise.all(Array.from({ length: 50 }, () => key.sign('ecdsa-sha256', message)));
  parentPort.postMessage({ publicKey: key.publicKey, signatures });
}
client.close();
