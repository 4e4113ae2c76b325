/** Rights belong to who signs, not to who started it: a worker is judged by its own uid, and root has no right of its own. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { isRoot, serverUser } from './support/account.js';
import { mpms } from './support/apache.js';
import { auditOf } from './support/audit.js';
import { cleanupAfter } from './support/cleanup.js';
import { deploy } from './support/deployment.js';
import { fetchPage } from './support/handshakes.js';
import { uidOf } from './support/proc.js';
import { waitFor } from './support/wait.js';

const keys = [{ label: 'www', type: 'rsa:2048' }] as const;
const asRoot = { skip: isRoot ? false : 'needs root, to start a server that drops it' };
const sign = { keys: 'pkcs11:', operations: ['sign'] };

for (const mpm of mpms) {
  test(`a child of Apache ${mpm} signs as www-data, although root loaded the key`, asRoot, async (t) => {
    const deployment = await deploy(cleanupAfter(t), {
      keys,
      agent: { rules: [{ name: 'workers', users: ['www-data'], ...sign }] },
    });
    const { agent, authority } = deployment;
    const apache = await deployment.apache({ mpm, reference: 'uri', keys: ['www'] });
    assert.equal(uidOf(apache.pid), 0);
    const workers = await waitFor('every child has dropped root', () => {
      const children = apache.children();
      return children.length > 0 && children.every((pid) => uidOf(pid) === serverUser().uid) && children;
    });

    await fetchPage({ port: apache.port, ca: authority.root });
    const [record, ...others] = auditOf(agent).filter(({ event }) => event === 'sign');
    assert.deepEqual(others, []);
    assert.ok(record);
    assert.deepEqual(
      [record.uid, record.gid, record.rule, record.outcome],
      [serverUser().uid, serverUser().gid, 'workers', 'ok'],
    );
    assert.ok(
      workers.includes(record.pid ?? 0),
      `pid ${String(record.pid)} is not one of ${workers.join(' ')}`,
    );
  });

  test(`a child of Apache ${mpm} may not sign where only root may`, asRoot, async (t) => {
    const deployment = await deploy(cleanupAfter(t), {
      keys,
      agent: { rules: [{ name: 'root only', users: ['root'], ...sign }] },
    });
    const { agent, authority } = deployment;
    const apache = await deployment.apache({ mpm, reference: 'uri', keys: ['www'] });
    await assert.rejects(fetchPage({ port: apache.port, ca: authority.root }));
    const outcomes = auditOf(agent).flatMap(({ event, uid, outcome }) =>
      event === 'sign' ? [[uid, outcome]] : [],
    );
    assert.deepEqual(outcomes[0], [serverUser().uid, 'DENIED']);
    assert.ok(
      outcomes.every(([uid]) => uid !== 0),
      'a connection of the parent was used',
    );
  });
}

test('root sees a key and may not sign with it unless a rule says so', asRoot, async (t) => {
  const { agent, token } = await deploy(cleanupAfter(t), {
    keys,
    agent: { rules: [{ name: 'workers', users: ['www-data'], ...sign }] },
  });
  const uri = `pkcs11:token=${token.label};object=www`;
  assert.match(await agent.mustKeyagent(['pubkey', uri]), /^-----BEGIN PUBLIC KEY-----\n/);
  const { status, stdout } = await agent.keyagent(['sign', '--key', uri, '--alg', 'rsa-pss-sha256'], {
    input: 'text',
  });
  assert.deepEqual([status, stdout], [77, '']);
  assert.deepEqual(
    auditOf(agent).flatMap(({ event, uid, outcome }) => (event === 'sign' ? [[uid, outcome]] : [])),
    [[0, 'DENIED']],
  );
});
