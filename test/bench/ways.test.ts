/** The benchmark's clients, shortly: what they count are signatures that verify, whichever way they take. */
import assert from 'node:assert/strict';
import { before, after, test } from 'node:test';
import { Cleanup } from '../support/cleanup.js';
import { makeField, type Field } from './field.js';
import { startFloor } from './floor/floor.js';
import { NodeClients } from './node-clients.js';
import { runSigner } from './signer.js';

const load = { processes: 2, threads: 2, ms: 100 };
const cleanup = new Cleanup();
let field: Field;
before(async () => {
  field = await makeField(cleanup);
});
after(() => cleanup.run());

for (const key of ['p256', 'rsa2048'] as const) {
  for (const way of ['keyagent', 'provider', 'p11-kit', 'in process'] as const) {
    test(`${way} signs with ${key}, and every client has a signature verified`, async () => {
      const { all, verified } = await runSigner(field.ways(key)[way], load);
      assert.ok(verified >= 4 && all >= verified, `${verified} of ${all}`);
    });
  }
  test(`two processes that only pass on and sign do so with ${key}, and every client has a signature verified`, async () => {
    const { all, verified } = await runSigner(await startFloor(cleanup, field, key), load);
    assert.ok(verified >= 4 && all >= verified, `${verified} of ${all}`);
  });
  test(`the Node client signs with ${key}, and every request in flight has a signature verified`, async () => {
    const { all, verified } = await new NodeClients(field.ways(key).keyagent).run(load);
    assert.ok(verified >= 4 && all >= verified, `${verified} of ${all}`);
  });
}

test('a signature that does not verify ends the benchmark', async () => {
  const { spki } = field.ways('rsa2048')['in process'];
  await assert.rejects(runSigner({ ...field.ways('p256').keyagent, spki }, load), /verif/);
});
