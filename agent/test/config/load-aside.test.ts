import assert from 'node:assert/strict';
import { test } from 'node:test';
import { loadAside } from '@keyagent/agent/config/load-aside.js';

test('a configuration that is not read in time is refused', async () => {
  assert.deepEqual(await loadAside('/etc/keyagent/none.toml', 1), {
    hash: undefined,
    refusal:
      '/etc/keyagent/none.toml: not read within 0.001 s: a directory of users, or a mount on the way to a module, does not answer',
  });
});

test('what is wrong with it is told as it is', async () => {
  const { refusal } = (await loadAside('/etc/keyagent/none.toml')) as { refusal: string };
  assert.match(refusal, /^\/etc\/keyagent\/none\.toml: no such file; write one/);
});
