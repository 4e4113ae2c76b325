/**
 * LoadCredential= and LoadCredentialEncrypted=: what systemd puts into $CREDENTIALS_DIRECTORY, made here by systemd's
 * own systemd-creds(1) with a host key of the test's own.
 */
import assert from 'node:assert/strict';
import { chmodSync, mkdirSync, readFileSync, rmSync } from 'node:fs';
import { randomBytes } from 'node:crypto';
import path from 'node:path';
import { test } from 'node:test';
import { cleanupAfter, type Cleanup } from './support/cleanup.js';
import { runCommand, type CommandOptions, type CommandResult } from './support/command.js';
import { deploy, type Deployment } from './support/deployment.js';
import { waitFor } from './support/wait.js';

const name = 'keyagent.web.pin';
const pin = randomBytes(12).toString('hex');

/** Its agent has stopped; its credentials directory is empty. */
async function machine(cleanup: Cleanup): Promise<Deployment & { credentials: string }> {
  const deployment = await deploy(cleanup, {
    keys: [{ label: 'www', type: 'EC:prime256v1' }],
    pin,
    agent: { credential: true, counted: true },
  });
  await deployment.agent.daemon.stop();
  const credentials = path.join(deployment.folder, 'credentials');
  rmSync(path.join(credentials, name));
  return Object.assign(deployment, { credentials });
}

/** systemd-creds as the system manager of a machine with this host key. */
class HostKey {
  readonly #env: Record<string, string>;

  private constructor(file: string) {
    this.#env = { SYSTEMD_CREDENTIAL_SECRET: file };
  }

  static async make(folder: string, host: string): Promise<HostKey> {
    const directory = path.join(folder, host);
    mkdirSync(directory, { mode: 0o700 });
    const key = new HostKey(path.join(directory, 'credential.secret'));
    const { status, stderr } = await key.creds(['setup']);
    assert.equal(status, 0, stderr);
    return key;
  }

  creds(args: string[], options: CommandOptions = {}): Promise<CommandResult> {
    return runCommand('systemd-creds', args, { ...options, env: this.#env });
  }

  async encrypt(file: string, more: string[] = []): Promise<void> {
    const args = ['encrypt', '--with-key=host', `--name=${name}`, ...more, '-', file];
    const { status, stderr } = await this.creds(args, { input: `${pin}\n` });
    assert.equal(status, 0, stderr);
  }

  /** What LoadCredentialEncrypted= does before the service starts. */
  async load(file: string, credentials: string): Promise<CommandResult> {
    const target = path.join(credentials, name);
    const result = await this.creds(['decrypt', `--name=${name}`, file, target]);
    if (result.status === 0) chmodSync(target, 0o400);
    return result;
  }
}

test('a PIN encrypted with the host key unlocks the token, and the file that stays on disk does not show it', async (t) => {
  const { agent, folder, credentials } = await machine(cleanupAfter(t));
  const host = await HostKey.make(folder, 'host');
  const encrypted = path.join(folder, `${name}.cred`);
  await host.encrypt(encrypted);
  assert.equal(readFileSync(encrypted, 'latin1').includes(pin), false);
  assert.equal(Buffer.from(readFileSync(encrypted, 'latin1'), 'base64').includes(pin), false);

  const { status, stderr } = await host.load(encrypted, credentials);
  assert.equal(status, 0, stderr);
  const before = agent.calls('C_Login');
  await agent.start();
  await waitFor('the token is unlocked', async () => (await agent.tokenState('web')) === 'unlocked');
  assert.equal(agent.calls('C_Login'), before + 1);
});

test('another machine, another name and a later day open nothing, and the token stays locked', async (t) => {
  const { agent, folder, credentials } = await machine(cleanupAfter(t));
  const host = await HostKey.make(folder, 'host');
  const thief = await HostKey.make(folder, 'thief');
  const encrypted = path.join(folder, `${name}.cred`);
  const expired = path.join(folder, `${name}.expired`);
  await host.encrypt(encrypted);
  await host.encrypt(expired, ['--timestamp=2000-01-01', '--not-after=2000-01-02']);

  for (const result of [
    await thief.load(encrypted, credentials),
    await host.load(expired, credentials),
    await host.creds(['decrypt', '--name=keyagent.other.pin', encrypted, path.join(credentials, name)]),
  ]) {
    assert.notEqual(result.status, 0);
    assert.equal(result.stdout.includes(pin), false);
  }
  const before = agent.calls('C_Login');
  await agent.start();
  await waitFor('the prompt waits', async () =>
    /^web +prompt +\S+Z +waits for an operator$/m.test(await agent.mustKeyagent(['status'])),
  );
  assert.match(
    await agent.mustKeyagent(['status']),
    /^web +credential +\S+Z +there is no credential keyagent\.web\.pin; add LoadCredential=/m,
  );
  assert.equal(await agent.tokenState('web'), 'locked');
  assert.equal(agent.calls('C_Login'), before);
});
