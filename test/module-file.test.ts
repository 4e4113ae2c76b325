/** A PKCS#11 module is code that gets the PIN: one that others could change is never loaded, and everybody who asks is told. */
import assert from 'node:assert/strict';
import { chmodSync, closeSync, constants, mkdirSync, openSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { test, type TestContext } from 'node:test';
import { connectCaller } from '@keyagent/protocol';
import type { Agent } from './support/agent.js';
import { cleanupAfter } from './support/cleanup.js';
import { mustRun, runCommand } from './support/command.js';
import { CountingModule } from './support/counting-module.js';
import { deploy } from './support/deployment.js';
import { keyagentd } from './support/paths.js';
import { childrenOf } from './support/proc.js';
import { scratchFolder } from './support/scratch.js';
import { waitFor } from './support/wait.js';

const keys = [{ label: 'www', type: 'EC:prime256v1' }] as const;
const told = /module: \/\S+: mode 0775 lets others write to it; chmod go-w it/;

test('a module that its group may write, or below such a directory, ends the start with 78; check and doctor tell', async (t) => {
  const { agent, folder, hsm } = await deploy(cleanupAfter(t), { keys });
  await agent.daemon.stop();
  const directory = path.join(folder, 'vendor/lib');
  mkdirSync(directory, { recursive: true });
  const { module, env } = new CountingModule(directory, hsm).tokenSettings;
  agent.configure(({ token }) => Object.assign(token[0] ?? {}, { module, env }));
  const configuration = ['--config', agent.configFile];
  for (const place of [module, directory, path.dirname(directory)]) {
    chmodSync(place, 0o775);
    for (const args of [[], ['--check-config']]) {
      const { status, stderr } = await runCommand(keyagentd, [...configuration, ...args]);
      assert.equal(status, 78, stderr);
      assert.match(stderr, told);
      assert.ok(stderr.includes(` ${place}: mode 0775`), stderr);
      assert.match(stderr, /toml:\d+: token\.web\.module: /);
    }
    const doctor = await agent.keyagent([...configuration, 'doctor']);
    assert.equal(doctor.status, 78);
    assert.match(doctor.stdout, new RegExp(`^problem +configuration: .*${told.source}`, 'm'));
    chmodSync(place, 0o755);
  }
  await agent.start();
  await agent.unlock();
});

test('a module that becomes writable to others while the agent runs is not loaded again until it is mended', async (t) => {
  const { agent } = await deploy(cleanupAfter(t), { keys, agent: { counted: true, credential: true } });
  const module = agent.counting?.tokenSettings.module ?? '';
  chmodSync(module, 0o775);
  const refused = await agent.keyagent(['reload']);
  assert.equal(refused.status, 78);
  assert.match(refused.stderr, told);
  // What was loaded before is as it was.
  assert.equal(await agent.tokenState('web'), 'unlocked');

  const loaded = agent.calls('C_Initialize');
  for (const host of childrenOf(agent.daemon.pid)) process.kill(host, 'SIGKILL');
  await waitFor('the token has failed', async () => (await agent.tokenState('web')) === 'failed');
  assert.match(await agent.mustKeyagent(['status']), /mode 0775 lets others write to it; chmod go-w it/);
  const doctor = await agent.keyagent(['--config', agent.configFile, 'doctor']);
  assert.match(doctor.stdout, /^problem +token web: its host failed .*mode 0775/m);
  assert.equal(agent.calls('C_Initialize'), loaded, 'nobody loaded it');

  chmodSync(module, 0o755);
  await waitFor('the token is unlocked', async () => (await agent.tokenState('web')) === 'unlocked');
});

/** An agent whose module is on a mount that can hang. */
async function siteOnMount(t: TestContext): Promise<{
  agent: Agent;
  setHung: (hung: boolean) => void;
  /** Somebody looked at the module, and waits in the kernel. */
  isHungUp: () => boolean;
}> {
  const cleanup = cleanupAfter(t);
  const folder = scratchFolder(cleanup);
  const hungPath = path.join(folder, 'hung-path');
  const fifo = `${hungPath}.fifo`;
  writeFileSync(hungPath, '');
  await mustRun('mkfifo', [fifo]);
  const { agent } = await deploy(cleanup, {
    folder,
    keys,
    agent: {
      counted: true,
      credential: true,
      preload: new URL('./support/hung-mount.js', import.meta.url).pathname,
      env: { KEYAGENT_TEST_HUNG_PATH: hungPath },
    },
  });
  const { counting } = agent;
  assert.ok(counting !== undefined);
  await agent.setRequestTimeout(1000);
  return {
    agent,
    setHung: (hung) => {
      writeFileSync(hungPath, hung ? counting.tokenSettings.module : '');
    },
    isHungUp: () => hasReader(fifo),
  };
}

/** fifo(7): ENXIO for who would write where nobody reads. */
function hasReader(fifo: string): boolean {
  try {
    closeSync(openSync(fifo, constants.O_WRONLY | constants.O_NONBLOCK));
    return true;
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'ENXIO') throw error;
    return false;
  }
}

test('a module on a mount that hangs holds up its own host alone, which is killed and tried again', async (t) => {
  const { agent, setHung } = await siteOnMount(t);
  setHung(true);
  for (const host of childrenOf(agent.daemon.pid)) process.kill(host, 'SIGKILL');
  await waitFor('the token has failed', async () => (await agent.tokenState('web')) === 'failed');
  assert.match(await agent.mustKeyagent(['status']), /the token host did not answer in time and was killed/);

  setHung(false);
  await waitFor('the token is unlocked', async () => (await agent.tokenState('web')) === 'unlocked');
});

test('an agent that is stopped waits for no reload that hangs, and nobody goes on with it', async (t) => {
  const { agent, setHung, isHungUp } = await siteOnMount(t);
  const operator = await connectCaller(agent.controlSocket);
  t.after(() => {
    operator.close();
  });
  setHung(true);
  const lost = assert.rejects(operator.call('reload', {}), { code: 'UNAVAILABLE' });
  await waitFor('it reads the configuration', isHungUp);
  // Another one, whose turn comes when that one is given up: the log would tell.
  agent.daemon.signal('SIGHUP');
  await agent.mustKeyagent(['stop']);
  assert.equal(await agent.daemon.ended(), 0);
  assert.doesNotMatch(agent.daemon.log, /the configuration is not changed/);
  await lost;
  await waitFor('nobody reads it any more', () => !isHungUp());
});
