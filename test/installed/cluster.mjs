/** Cluster: the primary loads the key, three workers sign with a connection of their own each. */
import assert from 'node:assert/strict';
import cluster from 'node:cluster';
import { verify } from 'node:crypto';
import { once } from 'node:events';
import { connect } from '@keyagent/client';

const client = await connect();
const key = await client.key(process.env.KEY_URI);
const message = Buffer.from('message');

if (cluster.isPrimary) {
  const workers = [1, 2, 3].map(() => cluster.fork());
  const signatures = await Promise.all(
    workers.map(async (worker) => {
      const [answers] = await once(worker, 'message');
      worker.disconnect();
      const [status] = await once(worker, 'exit');
      assert.equal(status, 0);
      return answers;
    }),
  );
  assert.equal(new Set(signatures.flat()).size, 150);
  for (const signature of signatures.flat())
    assert(verify('sha256', message, key.publicKey, Buffer.from(signature, 'hex')));
  console.log('good');
} else {
  const answers = await Promise.all(Array.from({ length: 50 }, () => key.sign('ecdsa-sha256', message)));
  process.send(answers.map((signature) => signature.toString('hex')));
}
client.close();
