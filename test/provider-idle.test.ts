/** A program that loads the provider and uses no key of it does not look for the agent, whether there is one or not. */
import assert from 'node:assert/strict';
import { writeFileSync } from 'node:fs';
import { createServer } from 'node:net';
import path from 'node:path';
import { test } from 'node:test';
import { cleanupAfter } from './support/cleanup.js';
import { mustRun, runCommand } from './support/command.js';
import { writeOpensslConfig } from './support/openssl-config.js';
import { scratchFolder } from './support/scratch.js';

test('openssl connects to the agent for a key of the agent, and for nothing else', async (t) => {
  const cleanup = cleanupAfter(t);
  const folder = scratchFolder(cleanup);
  const socket = path.join(folder, 'agent.sock');
  let connections = 0;
  const listener = createServer((connection) => {
    connections++;
    connection.on('error', () => undefined).destroy();
  });
  await new Promise<void>((resolve) => listener.listen(socket, resolve));
  cleanup.after(() => {
    listener.close();
  });
  const options = { cwd: folder, env: writeOpensslConfig(path.join(folder, 'openssl.cnf'), socket) };
  writeFileSync(path.join(folder, 'message'), 'message');

  const idle = [
    ['list', '-providers'],
    ['dgst', '-sha256', 'message'],
    ['genpkey', '-algorithm', 'EC', '-pkeyopt', 'ec_paramgen_curve:P-256', '-out', 'own.key'],
    ['req', '-x509', '-key', 'own.key', '-subj', '/CN=own', '-out', 'own.pem'],
    ['x509', '-in', 'own.pem', '-noout', '-text'],
    ['dgst', '-sha256', '-sign', 'own.key', '-out', 'signature', 'message'],
    ['cms', '-sign', '-signer', 'own.pem', '-inkey', 'own.key', '-in', 'message', '-out', 'message.cms'],
    ['pkcs12', '-export', '-in', 'own.pem', '-inkey', 'own.key', '-passout', 'pass:x', '-out', 'own.p12'],
    ['pkcs12', '-in', 'own.p12', '-passin', 'pass:x', '-nodes', '-out', 'again.pem'],
  ];
  for (const args of idle) {
    const { stdout } = await mustRun('openssl', args, options);
    if (args[0] === 'list') assert.match(stdout, /^ {2}keyagent$/m);
    assert.equal(connections, 0, args.join(' '));
  }
  const sign = ['dgst', '-sha256', '-sign', 'pkcs11:object=www', 'message'];
  assert.notEqual((await runCommand('openssl', sign, options)).status, 0);
  assert.ok(connections > 0);
});
