/** An operator's PIN: on a terminal, and through systemd-ask-password with real agents of it; any one operator will do. */
import assert from 'node:assert/strict';
import { spawn, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { userInfo } from 'node:os';
import { test, type TestContext } from 'node:test';
import type { Agent } from './support/agent.js';
import { answerQuestion, cancelQuestion, oneQuestion, questions, whyNotAsk } from './support/ask-password.js';
import { cleanupAfter, type Cleanup } from './support/cleanup.js';
import type { CommandResult } from './support/command.js';
import { deploy } from './support/deployment.js';
import { keyagentCommand } from './support/paths.js';
import { Terminal } from './support/terminal.js';
import { waitFor } from './support/wait.js';

const keys = [{ label: 'www', type: 'EC:prime256v1' }] as const;
const rules = [{ keys: 'pkcs11:', users: [userInfo().username] }];
const skip = whyNotAsk() ?? false;

interface Locked {
  agent: Agent;
  cleanup: Cleanup;
  pin: string;
  /** Random, so that a question of this test is told from others of the machine. */
  serial: string;
  env: Record<string, string>;
}

async function locked(t: TestContext): Promise<Locked> {
  const cleanup = cleanupAfter(t);
  const { agent, token } = await deploy(cleanup, { keys, agent: { rules, counted: true } });
  await agent.mustKeyagent(['lock']);
  const { serial } = await status(agent);
  assert.ok(serial !== undefined && serial.length >= 8);
  const env = { KEYAGENT_SOCK: agent.socket, KEYAGENT_CONTROL_SOCK: agent.controlSocket };
  return { agent, cleanup, pin: token.pin, serial, env };
}

async function status(agent: Agent): Promise<{ state: string; serial?: string; flags?: string }> {
  const { tokens } = JSON.parse(await agent.mustKeyagent(['status', '--json'])) as {
    tokens: { state: string; serial?: string; flags?: string }[];
  };
  const [web] = tokens;
  assert.ok(web !== undefined);
  return web;
}

function ask(agent: Agent, ...more: string[]): Promise<CommandResult> {
  return agent.keyagent(['unlock', '--ask-password', ...more]);
}

test(
  'the question shows token, label and serial, and whoever answers it unlocks the token',
  { skip },
  async (t) => {
    const { agent, pin, serial } = await locked(t);
    const before = agent.calls('C_Login');
    const asked = ask(agent);
    const question = await oneQuestion(serial);
    assert.deepEqual(
      { ...question, socket: '' },
      {
        id: 'keyagent:web',
        message: `PIN of token web (label web, serial ${serial}):`,
        echo: '0',
        socket: '',
      },
    );
    await answerQuestion(question, pin);
    const { status: exit, stdout, stderr } = await asked;
    assert.deepEqual([exit, stdout, stderr], [0, 'web unlocked\n', '']);
    assert.equal(agent.calls('C_Login'), before + 1);
    assert.match(await agent.mustKeyagent(['status']), /^web +prompt +\S+Z +unlocked the token$/m);
  },
);

test('a wrong answer is said once, and the next question warns', { skip }, async (t) => {
  const { agent, pin, serial } = await locked(t);
  const before = agent.calls('C_Login');
  const wrong = ask(agent);
  await answerQuestion(await oneQuestion(serial), 'not-the-pin');
  const { status: exit, stderr } = await wrong;
  assert.equal(exit, 77);
  assert.match(stderr, /^[^\n]+PIN[^\n]*\n$/);
  assert.equal(agent.calls('C_Login'), before + 1);
  assert.match(
    await agent.mustKeyagent(['status']),
    /^web +prompt +\S+Z +the token refused its PIN; waits for an operator$/m,
  );

  const right = ask(agent);
  const question = await oneQuestion(serial);
  assert.match(question.message, /, wrong PINs were given before:$/);
  await answerQuestion(question, pin);
  assert.equal((await right).status, 0);
  const said = agent.daemon.log;
  assert.equal(said.includes(pin) || said.includes('not-the-pin'), false);
});

test(
  'at the final try nobody is asked without --force, and with it the question says so',
  { skip },
  async (t) => {
    const { agent, pin, serial } = await locked(t);
    agent.counting?.setFaults('C_GetTokenInfo flags|=0x20000');
    // The agent hears of it with the next login, as from a token whose last but one try was just used up.
    assert.equal((await agent.keyagent(['unlock', '--stdin'], { input: pin })).status, 77);
    const refused = await ask(agent);
    assert.deepEqual([refused.status, refused.stderr.includes('say --force')], [77, true]);
    assert.deepEqual(questions(serial), []);
    const forced = ask(agent, '--force');
    const question = await oneQuestion(serial);
    assert.match(question.message, /, last try before it locks:$/);
    await answerQuestion(question, pin);
    assert.equal((await forced).status, 0);
  },
);

test(
  'of several operators any one answers; the other questions are withdrawn, and there is one login',
  { skip },
  async (t) => {
    const { agent, cleanup, pin, serial, env } = await locked(t);
    const before = agent.calls('C_Login');
    const asked = [ask(agent), ask(agent)];
    const terminal = new Terminal(cleanup, `${keyagentCommand} unlock`, env);
    await terminal.shows(/PIN of token web/);
    await waitFor('two questions', () => questions(serial).length === 2);
    const rows = /^web +prompt +\S+Z +asks uid \d+ \(pid \d+\)$/gm;
    assert.equal((await agent.mustKeyagent(['status'])).match(rows)?.length, 3);
    const [first] = questions(serial);
    assert.ok(first !== undefined);
    await answerQuestion(first, pin);
    const outcomes = (await Promise.all(asked)).map(({ status: exit, stdout }) => `${exit} ${stdout}`);
    assert.deepEqual(outcomes.sort(), ['0 web unlocked\n', '0 web was unlocked already\n']);
    assert.equal(await terminal.end(), 0);
    assert.match(terminal.screen, /web was unlocked already/);
    assert.deepEqual(questions(serial), []);
    assert.equal((await agent.mustKeyagent(['status'])).includes('asks uid'), false);
    assert.equal(agent.calls('C_Login'), before + 1);
  },
);

test(
  'a terminal of systemd-tty-ask-password-agent answers, and shows nothing of the PIN',
  { skip },
  async (t) => {
    const { agent, cleanup, pin, serial } = await locked(t);
    const asked = ask(agent);
    await oneQuestion(serial);
    const terminal = new Terminal(cleanup, 'systemd-tty-ask-password-agent --query');
    await terminal.shows(new RegExp(`serial ${serial}`));
    terminal.type(`${pin}\n`);
    assert.equal((await asked).status, 0);
    await terminal.end();
    assert.equal(terminal.screen.includes(pin), false);
  },
);

test(
  'an operator who cancels changes nothing, and the exit status is that of an interrupt',
  { skip },
  async (t) => {
    const { agent, serial } = await locked(t);
    const before = agent.calls('C_Login');
    const asked = ask(agent);
    await cancelQuestion(await oneQuestion(serial));
    const { status: exit, stderr } = await asked;
    assert.deepEqual([exit, stderr], [130, 'keyagent: no PIN was given; nothing has changed\n']);
    assert.equal((await status(agent)).state, 'locked');
    assert.equal((await agent.mustKeyagent(['status'])).includes('asks uid'), false);
    assert.equal(agent.calls('C_Login'), before);
  },
);

test('the question goes when the command is told to end, and when the agent ends', { skip }, async (t) => {
  const { agent, cleanup, serial, env } = await locked(t);
  for (const name of ['SIGTERM', 'SIGHUP', 'SIGINT'] as const) {
    const command = startAsking(cleanup, env);
    await oneQuestion(serial);
    // Ctrl-C reaches the whole group of a terminal.
    if (name === 'SIGINT') process.kill(-(command.pid ?? NaN), name);
    else command.kill(name);
    await once(command, 'exit');
    await waitFor('the question is withdrawn', () => questions(serial).length === 0);
  }
  const asked = ask(agent);
  await oneQuestion(serial);
  await agent.daemon.stop();
  const { status: exit, stderr } = await asked;
  assert.equal(exit, 69, stderr);
  assert.deepEqual(questions(serial), []);
});

test('a question about a token that a reload replaces goes, and says why', async (t) => {
  const { agent, cleanup, env } = await locked(t);
  const terminal = new Terminal(cleanup, `${keyagentCommand} unlock`, env);
  await terminal.shows(/PIN of token web/);
  await waitFor('the agent knows of the question', async () =>
    (await agent.mustKeyagent(['status'])).includes('asks uid'),
  );
  agent.configure(({ token: [web = {}] }) => Object.assign(web, { sessions: 2 }));
  await agent.mustKeyagent(['reload']);
  assert.equal(await terminal.end(), 69);
  assert.match(terminal.screen, /keyagent: a reload took it out of service/);
});

test('started before the token is there, as at boot, it waits for it and then asks', { skip }, async (t) => {
  const { agent, cleanup, pin, serial, env } = await locked(t);
  await agent.daemon.stop();
  agent.counting?.setFaults('C_GetTokenInfo rv=0xe0', 'C_GetSlotInfo flags&=0xfffffffffffffffe');
  await agent.start();
  await waitFor('the token is absent', async () => (await status(agent)).state === 'absent');
  const command = startAsking(cleanup, env);
  const ended = once(command, 'exit');
  await waitFor('the command is connected', async () =>
    (await agent.mustKeyagent(['status'])).includes('absent'),
  );
  assert.deepEqual(questions(serial), []);
  agent.counting?.setFaults();
  await answerQuestion(await oneQuestion(serial), pin);
  assert.deepEqual(await ended, [0, null]);
  assert.equal((await status(agent)).state, 'unlocked');
});

test('nobody is asked about a token that is unlocked', { skip }, async (t) => {
  const { agent, pin, serial } = await locked(t);
  await agent.mustKeyagent(['unlock', '--stdin'], { input: pin });
  const { status: exit, stdout } = await ask(agent);
  assert.deepEqual([exit, stdout], [0, 'web was unlocked already\n']);
  assert.deepEqual(questions(serial), []);
});

test('the options that say where a PIN comes from exclude each other', async (t) => {
  const { agent } = await locked(t);
  for (const other of [['--stdin'], ['--source', 'keyring']]) {
    const { status: exit, stderr } = await ask(agent, ...other);
    assert.deepEqual([exit, stderr.includes('cannot be used with')], [64, true], stderr);
  }
});

/** In a process group of its own, as a shell starts it. */
function startAsking(cleanup: Cleanup, env: Record<string, string>): ChildProcess {
  const command = spawn(keyagentCommand, ['unlock', '--ask-password'], {
    env: { ...process.env, ...env },
    stdio: 'ignore',
    detached: true,
  });
  cleanup.after(() => {
    command.kill('SIGKILL');
  });
  return command;
}
