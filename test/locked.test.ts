/** What a locked token still gives: the public data that a server needs to start, and no signature. */
import assert from 'node:assert/strict';
import { X509Certificate } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { userInfo } from 'node:os';
import { test } from 'node:test';
import { cleanupAfter } from './support/cleanup.js';
import { deploy } from './support/deployment.js';
import { fetchPage } from './support/handshakes.js';

const keys = [{ label: 'www', type: 'EC:prime256v1' }] as const;
const rules = [{ keys: 'pkcs11:', users: [userInfo().username, 'www-data'] }];
const uri = 'pkcs11:token=web;object=www';

test('a locked token serves keys and certificates, says that they are unverified, and signs nothing', async (t) => {
  const { agent, token } = await deploy(cleanupAfter(t), { keys, agent: { rules } });
  const { publicKeyFile, certificateFile } = token.key('www');
  const expected = new X509Certificate(readFileSync(certificateFile)).fingerprint256;
  await agent.mustKeyagent(['lock']);
  await agent.daemon.stop();
  await agent.start();
  assert.equal(await agent.settled('web'), 'locked');

  assert.equal(await agent.mustKeyagent(['pubkey', uri]), readFileSync(publicKeyFile, 'utf8'));
  assert.equal(new X509Certificate(await agent.mustKeyagent(['cert', uri])).fingerprint256, expected);
  assert.match(await agent.mustKeyagent(['keys']), /object=www.* unverified/);
  const { status, stderr } = await agent.keyagent(['sign', '--key', uri, '--alg', 'ecdsa-sha256'], {
    input: 'm',
  });
  assert.equal(status, 75);
  assert.match(stderr, /keyagent unlock web/);

  await agent.unlock();
  assert.match(await agent.mustKeyagent(['keys']), /object=www.* verified/);
});

test('a server starts while the token is locked, and serves the moment it is unlocked', async (t) => {
  const deployment = await deploy(cleanupAfter(t), { keys, agent: { rules } });
  const { agent, authority } = deployment;
  await agent.mustKeyagent(['lock']);
  const apache = await deployment.apache({ mpm: 'event', reference: 'uri', keys: ['www'] });
  await assert.rejects(fetchPage({ port: apache.port, ca: authority.root }));
  await agent.unlock();
  const { body } = await fetchPage({ port: apache.port, ca: authority.root });
  assert.ok(body.length > 0);
});
