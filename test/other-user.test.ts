/** The agent as a user of its own, as systemd runs it: three users meet, and only the agent's can read the token's store. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { account, whyNotAs } from './support/account.js';
import { cleanupAfter } from './support/cleanup.js';
import { deploy } from './support/deployment.js';
import { handshakes } from './support/handshakes.js';
import { uidOf } from './support/proc.js';

/** A user that every Debian has and that owns nothing. */
const user = account('daemon');

test(
  'an agent that is not root is unlocked by root and signs for www-data',
  { skip: whyNotAs(user) },
  async (t) => {
    const deployment = await deploy(cleanupAfter(t), {
      keys: [{ label: 'www', type: 'rsa:2048' }],
      agent: { user },
    });
    const { agent, authority } = deployment;
    assert.equal(uidOf(agent.daemon.pid), user.uid);
    const apache = await deployment.apache({ mpm: 'event', reference: 'uri', keys: ['www'] });
    const { succeeded, failures } = await handshakes({
      port: apache.port,
      ca: authority.root,
      count: 40,
      concurrency: 8,
    });
    assert.deepEqual({ succeeded, failures }, { succeeded: 40, failures: [] });
  },
);
