/** Taking a key away from a running server and giving it back: the server itself is never touched. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { Apache } from './support/apache.js';
import { cleanupAfter } from './support/cleanup.js';
import { deploy } from './support/deployment.js';
import { handshakes, type Target } from './support/handshakes.js';

const keys = [{ label: 'www', type: 'EC:prime256v1' }] as const;

for (const mpm of ['event', 'prefork'] as const) {
  test(`handshakes of Apache ${mpm} fail after lock and after stop, and work again with Apache untouched`, async (t) => {
    const deployment = await deploy(cleanupAfter(t), { keys });
    const { agent, authority, token } = deployment;
    const apache = await deployment.apache({ mpm, reference: 'uri', keys: ['www'] });
    const target = { port: apache.port, ca: authority.root };
    const { pid } = apache;
    const children = apache.children();
    await assertServes(target);

    await agent.mustKeyagent(['lock', token.label]);
    await assertRefuses(target);
    await agent.unlock();
    await assertServes(target);

    await agent.mustKeyagent(['stop']);
    assert.equal(await agent.daemon.ended(), 0);
    await assertRefuses(target);
    await agent.start();
    assert.equal(await agent.settled(token.label), 'locked');
    await assertRefuses(target);
    await agent.unlock();
    await assertServes(target);

    assert.equal(apache.pid, pid);
    assertAlive(apache, children);
  });
}

test('an agent that ends by SIGTERM logs in by itself when it starts again', async (t) => {
  const { agent, token } = await deploy(cleanupAfter(t), { keys, agent: { credential: true } });
  await agent.daemon.stop();
  await agent.start();
  assert.equal(await agent.settled(token.label), 'unlocked');
});

for (const verb of ['lock', 'stop'] as const) {
  test(`neither a credential nor socket activation undoes ${verb}; an operator does`, async (t) => {
    const { agent, token } = await deploy(cleanupAfter(t), { keys, agent: { credential: true } });
    await agent.mustKeyagent([verb]);
    await agent.daemon.stop();

    await agent.start();
    assert.equal(await agent.settled(token.label), 'locked');
    await agent.daemon.stop();

    await agent.startActivated();
    assert.equal(await agent.settled(token.label), 'locked');
    await agent.unlock();
    assert.equal(await agent.tokenState(token.label), 'unlocked');
    await agent.daemon.stop();

    await agent.start();
    assert.equal(await agent.settled(token.label), 'unlocked');
  });
}

/** Each of them is a full handshake: no tickets, no session cache, a client without a memory. */
async function assertServes(target: Target): Promise<void> {
  const { succeeded, failures } = await handshakes({ ...target, count: 20, concurrency: 4 });
  assert.deepEqual({ succeeded, failures }, { succeeded: 20, failures: [] });
}

async function assertRefuses(target: Target): Promise<void> {
  const { succeeded, failures } = await handshakes({ ...target, count: 20, concurrency: 4 });
  assert.equal(succeeded, 0);
  assert.equal(failures.length, 20);
}

function assertAlive(apache: Apache, children: readonly number[]): void {
  apache.mustRun();
  const now = apache.children();
  assert.deepEqual(
    children.filter((child) => !now.includes(child)),
    [],
  );
}
