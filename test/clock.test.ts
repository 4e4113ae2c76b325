/** The machine's clock is set, forwards or back: nothing is taken for hung, nothing lasts longer, and status answers. */
import assert from 'node:assert/strict';
import { writeFileSync } from 'node:fs';
import { userInfo } from 'node:os';
import path from 'node:path';
import { test, type TestContext } from 'node:test';
import { connectCaller, type Result } from '@keyagent/protocol';
import type { Agent, AgentSpec } from './support/agent.js';
import { cleanupAfter } from './support/cleanup.js';
import { deploy } from './support/deployment.js';
import { childrenOf } from './support/proc.js';
import { scratchFolder } from './support/scratch.js';
import { waitFor } from './support/wait.js';

const keys = [{ label: 'www', type: 'EC:prime256v1' }] as const;
const rules = [{ keys: 'pkcs11:', users: [userInfo().username] }];
const yearMs = 365 * 24 * 3600 * 1000;

interface Site {
  agent: Agent;
  /** Sets the clock of the agent so far from the machine's, milliseconds. */
  setClock(ms: number): void;
}

async function site(t: TestContext, spec: Partial<AgentSpec>): Promise<Site> {
  const cleanup = cleanupAfter(t);
  const folder = scratchFolder(cleanup);
  const file = path.join(folder, 'clock');
  const setClock = (ms: number): void => {
    writeFileSync(file, String(ms));
  };
  setClock(0);
  const { agent } = await deploy(cleanup, {
    folder,
    keys,
    agent: {
      rules,
      preload: new URL('./support/wall-clock.js', import.meta.url).pathname,
      env: { KEYAGENT_TEST_CLOCK: file },
      ...spec,
    },
  });
  return { agent, setClock };
}

async function status(agent: Agent): Promise<Result<'status'>> {
  return JSON.parse(await agent.mustKeyagent(['status', '--json'])) as Result<'status'>;
}

test('a clock that is set during a login, as at boot, does not have its host killed', async (t) => {
  const { agent, setClock } = await site(t, { counted: true, credential: true });
  await agent.daemon.stop();
  const before = { logins: agent.calls('C_Login'), sleeps: agent.counting?.sleeps().get('C_Login') ?? 0 };
  agent.counting?.setFaults('C_Login sleep_ms=1500');
  await agent.start();
  await waitFor(
    'the login is under way',
    () => agent.counting?.sleeps().get('C_Login') === before.sleeps + 1,
  );
  const hosts = childrenOf(agent.daemon.pid);
  setClock(yearMs);
  assert.equal(await agent.settled('web'), 'unlocked');
  assert.deepEqual(childrenOf(agent.daemon.pid), hosts);
  assert.equal(agent.calls('C_Login'), before.logins + 1);
});

for (const offset of [yearMs, -yearMs]) {
  const direction = offset > 0 ? 'forwards' : 'back';
  test(`set ${direction}: a login lasts as long as it was to last, and status says until when`, async (t) => {
    const { agent, setClock } = await site(t, { tokenSettings: { lock_after: '1h' } });
    setClock(offset);
    const { uptime, tokens } = await status(agent);
    assert.ok(uptime >= 0 && uptime < 3600, String(uptime));
    const [web] = tokens;
    assert.equal(web?.state, 'unlocked');
    const leftMs = (web.locks_at ?? NaN) * 1000 - (Date.now() + offset);
    assert.ok(leftMs > 3_000_000 && leftMs <= 3_600_000, String(leftMs));
    await agent.mustKeyagent(['unlock', '--for', '200ms']);
    await waitFor('the token locks', async () => (await agent.tokenState('web')) === 'locked');
  });
}

test('set back: a host that hangs is killed at its deadline all the same', async (t) => {
  const { agent, setClock } = await site(t, {});
  await agent.setRequestTimeout(1000);
  const caller = await connectCaller(agent.socket);
  t.after(() => {
    caller.close();
  });
  const sign = (): Promise<unknown> =>
    caller.call('sign', {
      uri: 'pkcs11:token=web;object=www',
      alg: 'ecdsa-sha256',
      message: Buffer.from('m'),
    });
  const [host = NaN] = childrenOf(agent.daemon.pid);
  process.kill(host, 'SIGSTOP');
  const hung = assert.rejects(sign(), { code: 'TIMEOUT' });
  setClock(-yearMs);
  await hung;
  await waitFor('another host signs', () =>
    sign().then(
      () => true,
      () => false,
    ),
  );
});
