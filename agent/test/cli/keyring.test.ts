import assert from 'node:assert/strict';
import { writeFileSync } from 'node:fs';
import path from 'node:path';
import { after, before, beforeEach, describe, it } from 'node:test';
import { PrivateKeyring } from '../unlock/sources/private-keyring.js';
import { keyagent, type Outcome } from './command.js';
import { FakeAgent } from './fake-agent.js';

describe('keyagent and the keyring of its user', () => {
  const agent = new FakeAgent();
  let keyring: PrivateKeyring;
  let leave: () => void;
  before(async () => {
    await agent.start();
    keyring = await PrivateKeyring.start();
    leave = keyring.enter();
  });
  after(async () => {
    leave();
    await keyring.stop();
    await agent.stop();
  });
  beforeEach(() => {
    agent.asked.length = 0;
    agent.answers = {
      status: () => ({
        agent: 'keyagent',
        pid: 1,
        uptime: 0,
        revoked: false,
        tokens: [{ name: 'web', state: 'locked' }],
      }),
      unlock: () => ({ token: 'web', state: 'unlocked', already: false }),
    };
  });
  const said = ({ status, stdout, stderr }: Outcome): unknown[] => [status, String(stdout), stderr];

  it('keyring set stores a PIN that unlock --source keyring sends', async () => {
    assert.deepEqual(
      said(await keyagent(agent, ['keyring', 'set', 'web', '--stdin'], { stdin: '12 34\n' })),
      [0, 'the PIN of web is in the keyring\n', ''],
    );
    assert.equal(agent.asked.length, 0, 'no agent is needed');
    assert.deepEqual(said(await keyagent(agent, ['unlock', '--source', 'keyring'])), [
      0,
      'web unlocked\n',
      '',
    ]);
    assert.deepEqual(agent.asked.at(-1)?.[2], { token: 'web', pin: '12 34', via: 'keyring' });
  });

  it('keyring delete deletes it; then unlock sends nothing', async () => {
    await keyagent(agent, ['keyring', 'set', 'web', '--stdin'], { stdin: '1234\n' });
    assert.equal((await keyagent(agent, ['keyring', 'delete', 'web'])).status, 0);
    const again = await keyagent(agent, ['keyring', 'delete', 'web']);
    assert.equal(again.status, 65);
    assert.match(again.stderr, /the keyring holds no item keyagent\/web/);
    const unlock = await keyagent(agent, ['unlock', '--source', 'keyring']);
    assert.equal(unlock.status, 75);
    assert.match(unlock.stderr, /store the PIN with "keyagent keyring set"/);
    assert.ok(agent.asked.every(([, method]) => method === 'status'));
  });

  it('uses the item that the configuration names', async () => {
    const config = path.join(agent.directory, 'keyagent.toml');
    writeFileSync(
      config,
      '[[token]]\nname = "db"\n[[token]]\nname = "web"\nkeyring_service = "pins"\nkeyring_account = "www"\n',
      {
        mode: 0o644,
      },
    );
    const set = await keyagent(agent, ['keyring', 'set', 'web', '--stdin', '--json', '--config', config], {
      stdin: '99\n',
    });
    assert.deepEqual(JSON.parse(String(set.stdout)), { stored: { service: 'pins', account: 'www' } });
    await keyagent(agent, ['unlock', '--source', 'keyring', '--socket', agent.client, '--config', config]);
    assert.equal(agent.asked.at(-1)?.[2].pin, '99');
  });

  it('keyring set exits with 64 without a terminal and with 65 without a PIN', async () => {
    assert.equal((await keyagent(agent, ['keyring', 'set', 'web'])).status, 64);
    assert.equal((await keyagent(agent, ['keyring', 'set', 'web', '--stdin'], { stdin: '\n' })).status, 65);
  });
});
