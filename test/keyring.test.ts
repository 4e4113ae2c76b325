/** A real gnome-keyring: read by the agent where it has a session, and by the operator's command where it has none. */
import assert from 'node:assert/strict';
import { randomBytes } from 'node:crypto';
import { userInfo } from 'node:os';
import { test } from 'node:test';
import { cleanupAfter } from './support/cleanup.js';
import { deploy } from './support/deployment.js';
import { childrenOf, scanMemory } from './support/proc.js';
import { startSessionKeyring } from './support/session-keyring.js';
import { waitFor } from './support/wait.js';

const keys = [{ label: 'www', type: 'EC:prime256v1' }] as const;
const rules = [{ keys: 'pkcs11:', users: [userInfo().username] }];
const tokenSettings = { unlock: ['keyring', 'prompt'] };

test('an agent with a session bus reads the PIN itself, at every start', async (t) => {
  const cleanup = cleanupAfter(t);
  const { agent, folder, token } = await deploy(cleanup, {
    keys,
    pin: randomBytes(9).toString('hex'),
    agent: { rules, counted: true, tokenSettings: { ...tokenSettings, retain_pin: false } },
  });
  await agent.daemon.stop();
  Object.assign(agent.env, await startSessionKeyring(cleanup, folder));
  const before = agent.calls('C_Login');
  await agent.start();
  await waitFor('the keyring was asked', async () =>
    /^web +keyring +\S+Z +the keyring holds no item keyagent\/web; store/m.test(
      await agent.mustKeyagent(['status']),
    ),
  );
  await agent.daemon.stop();

  const input = `${token.pin}\n`;
  await agent.mustKeyagent(['keyring', 'set', 'web', '--stdin'], { input, env: agent.env });
  await agent.start();
  await waitFor('the token is unlocked', async () => (await agent.tokenState('web')) === 'unlocked');
  assert.match(await agent.mustKeyagent(['status']), /^web +keyring +\S+Z +unlocked the token$/m);
  assert.equal(agent.calls('C_Login'), before + 1);
  for (const pid of [agent.daemon.pid, ...childrenOf(agent.daemon.pid)])
    assert.equal(scanMemory(pid, { pin: Buffer.from(token.pin) }).size, 0, 'no copy is left');
});

test("an agent without one says so, and is unlocked from the keyring of the operator's session", async (t) => {
  const cleanup = cleanupAfter(t);
  const { agent, folder, token } = await deploy(cleanup, {
    keys,
    agent: { rules, counted: true, tokenSettings },
  });
  await agent.daemon.stop();
  const session = await startSessionKeyring(cleanup, folder);
  const input = `${token.pin}\n`;
  await agent.mustKeyagent(['keyring', 'set', 'web', '--stdin'], { input, env: session });
  Object.assign(agent.env, { DBUS_SESSION_BUS_ADDRESS: '', XDG_RUNTIME_DIR: '' });
  const before = agent.calls('C_Login');
  await agent.start();
  await waitFor('the keyring was asked', async () =>
    /^web +keyring +\S+Z +there is no D-Bus session here/m.test(await agent.mustKeyagent(['status'])),
  );
  assert.equal(await agent.tokenState('web'), 'locked');

  const unlocked = await agent.mustKeyagent(['unlock', '--source', 'keyring'], { env: session });
  assert.equal(unlocked, 'web unlocked\n');
  assert.match(await agent.mustKeyagent(['status']), /^web +keyring +\S+Z +unlocked the token$/m);
  assert.equal(agent.calls('C_Login'), before + 1);
});
