/** Keys and certificates change in the token while the agent serves: noticed, told, and no signature is held up by it. */
import assert from 'node:assert/strict';
import { createPublicKey, verify, X509Certificate } from 'node:crypto';
import { readFileSync } from 'node:fs';
import path from 'node:path';
import { test, type TestContext } from 'node:test';
import { connectCaller, type Caller, type Result } from '@keyagent/protocol';
import { cleanupAfter } from './support/cleanup.js';
import { mustRun } from './support/command.js';
import { deploy, type Deployment, type DeploymentSpec } from './support/deployment.js';
import { SoftHsm } from './support/softhsm.js';
import { waitFor } from './support/wait.js';

const keys = [
  { label: 'www', type: 'EC:prime256v1' },
  { label: 'mail', type: 'rsa:2048' },
] as const;
const rules = [{ name: 'root', keys: 'pkcs11:', users: ['root'], operations: ['sign'] }];
const uri = 'pkcs11:token=web;object=www';
const message = Buffer.from('message');

class Watched {
  /** URIs that were told as rotated. */
  readonly told: string[] = [];

  constructor(
    readonly deployment: Deployment,
    readonly caller: Caller,
  ) {
    caller.on('notice', ({ method, params }) => {
      if (method === 'rotated') this.told.push(params.uri);
    });
  }

  pkcs11Tool(...args: string[]): Promise<string> {
    const { agent, token } = this.deployment;
    const { hsm } = agent.spec;
    assert.ok(hsm instanceof SoftHsm);
    return hsm.pkcs11Tool(token, ...args);
  }

  /** What happens meanwhile, but the keys that are told of. */
  async rotates(object: string, change: () => Promise<unknown>): Promise<string> {
    this.told.length = 0;
    await change();
    return waitFor(`${object} is told as rotated`, () =>
      this.told.find((each) => each.includes(`object=${object}`)),
    );
  }

  key(selector = uri): Promise<Result<'key'>> {
    return this.caller.call('key', { uri: selector });
  }

  /** With the public key that the agent gives. */
  async sign(selector = uri): Promise<void> {
    const { spki } = await this.key(selector);
    const publicKey = createPublicKey({ key: Buffer.from(spki), format: 'der', type: 'spki' });
    const { signature } = await this.caller.call('sign', { uri: selector, alg: 'ecdsa-sha256', message });
    assert.ok(verify('sha256', message, publicKey, signature));
  }
}

async function watch(
  t: TestContext,
  agent: DeploymentSpec['agent'],
  more: DeploymentSpec['keys'] = [],
): Promise<Watched> {
  const deployment = await deploy(cleanupAfter(t), { keys: [...keys, ...more], agent: { rules, ...agent } });
  const caller = await connectCaller(deployment.agent.socket, { notify: true });
  t.after(() => {
    caller.close();
  });
  return new Watched(deployment, caller);
}

test('a new certificate, a new key and one that left are noticed from time to time and told, on every host', async (t) => {
  const watched = await watch(t, { tokenSettings: { rescan_ms: 1000, hosts: 2 } });
  const { authority, folder, token } = watched.deployment;
  const { id, publicKeyFile, certificateFile } = token.key('www');
  const before = await watched.key();
  const renewed = await authority.certify('renewed', publicKeyFile);
  const der = path.join(folder, 'renewed.der');
  await mustRun('openssl', ['x509', '-in', renewed, '-outform', 'DER', '-out', der]);
  const named = ['--type', 'cert', '--id', id];
  const told = await watched.rotates('www', async () => {
    await watched.pkcs11Tool('--write-object', der, ...named, '--label', 'www');
    await watched.pkcs11Tool('--delete-object', ...named);
    await watched.pkcs11Tool('--write-object', der, ...named, '--label', 'www');
  });
  assert.equal(told, before.uri);
  const fingerprint = (file: string): string => new X509Certificate(readFileSync(file)).fingerprint256;
  await waitFor('the new certificate is served', async () => {
    const { certificates, spki } = await watched.key();
    assert.deepEqual(spki, before.spki);
    const served = certificates[0] && new X509Certificate(certificates[0]).fingerprint256;
    return served === fingerprint(renewed) && served !== fingerprint(certificateFile);
  });

  const added = await watched.rotates('fresh', () =>
    watched.pkcs11Tool('--keypairgen', '--key-type', 'EC:prime256v1', '--label', 'fresh', '--id', 'b001'),
  );
  await Promise.all(Array.from({ length: 16 }, () => watched.sign(added)));

  await watched.rotates('fresh', async () => {
    for (const type of ['privkey', 'pubkey'])
      await watched.pkcs11Tool('--delete-object', '--type', type, '--id', 'b001');
  });
  await assert.rejects(watched.key(added), { code: 'NOT_FOUND' });
  await assert.rejects(watched.sign(added), { code: 'NOT_FOUND' });
  await watched.sign();
});

test('a key that was made anew under its old name is noticed when it is used', async (t) => {
  const watched = await watch(t, { tokenSettings: { rescan_ms: 0 } });
  const { token } = watched.deployment;
  const { id } = token.key('www');
  const before = await watched.key();
  for (const type of ['privkey', 'pubkey', 'cert'])
    await watched.pkcs11Tool('--delete-object', '--type', type, '--id', id);
  await watched.pkcs11Tool('--keypairgen', '--key-type', 'EC:prime256v1', '--label', 'www', '--id', id);
  const told = await watched.rotates('www', () =>
    assert.rejects(watched.sign(), ({ code }: { code: string }) =>
      ['NOT_FOUND', 'KEY_MISMATCH'].includes(code),
    ),
  );
  assert.equal(told, before.uri, 'with no rescan and no reload');
  assert.notDeepEqual((await watched.key()).spki, before.spki);
  await watched.sign();
});

test('signatures do not wait for the keys to be read, not even for the only session; nor is a key used for it', async (t) => {
  // Each is three objects, and each of those a step of several calls; a signature waits for two steps.
  const more = Array.from({ length: 4 }, (_, i) => ({ label: `more-${i}`, type: 'EC:prime256v1' }) as const);
  const watched = await watch(t, { counted: true, tokenSettings: { sessions: 1, rescan_ms: 0 } }, more);
  const { agent } = watched.deployment;
  const operator = await connectCaller(agent.controlSocket);
  t.after(() => {
    operator.close();
  });
  await watched.sign();
  const [signed, read] = [agent.calls('C_Sign'), agent.calls('C_FindObjectsInit')];
  agent.counting?.setFaults('C_GetAttributeValue sleep_ms=30');
  let isRead = false;
  const reload = operator.call('reload', {}).then(() => (isRead = true));
  await waitFor('they are being read', () => (agent.counting?.sleeps().get('C_GetAttributeValue') ?? 0) > 1);
  let meanwhile = 0;
  for (; meanwhile < 3; meanwhile++) await watched.sign();
  assert.equal(isRead, false, 'three signatures came before the end of the reading');
  await reload;
  assert.ok(agent.calls('C_FindObjectsInit') > read);
  assert.equal(agent.calls('C_Sign'), signed + meanwhile, 'what was proven is not proven again');
});
