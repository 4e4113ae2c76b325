/** The agent's places: one agent for each socket and each state directory, and sockets for servers in a chroot. */
import assert from 'node:assert/strict';
import {
  chmodSync,
  chownSync,
  cpSync,
  existsSync,
  mkdirSync,
  readFileSync,
  readdirSync,
  readlinkSync,
  statSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import path from 'node:path';
import { test } from 'node:test';
import { account, isRoot } from './support/account.js';
import { Agent, startAgent, type AgentSpec } from './support/agent.js';
import { Asker } from './support/asker.js';
import { makeAuthority } from './support/authority.js';
import { cleanupAfter, type Cleanup } from './support/cleanup.js';
import { runCommand, type CommandResult } from './support/command.js';
import { Daemon } from './support/daemon.js';
import { deploy } from './support/deployment.js';
import { keyagentd, root } from './support/paths.js';
import { childrenOf } from './support/proc.js';
import { scratchFolder } from './support/scratch.js';
import { SoftHsm } from './support/softhsm.js';
import { waitFor } from './support/wait.js';

const asRoot = { skip: !isRoot && 'needs root, for files and processes of other users' };

async function specIn(cleanup: Cleanup): Promise<AgentSpec> {
  const folder = scratchFolder(cleanup);
  const hsm = new SoftHsm(folder, await makeAuthority(folder));
  return { folder, hsm, tokens: [await hsm.makeToken('web', [{ label: 'www', type: 'EC:prime256v1' }])] };
}

/** Another agent's configuration: this one's, with some lines of [agent] changed. */
function variant(agent: Agent, changes: Record<string, string>): string {
  let text = readFileSync(agent.configFile, 'utf8');
  for (const [key, value] of Object.entries(changes)) {
    text = text.replace(new RegExp(`^${key} = .*$`, 'm'), `${key} = ${JSON.stringify(value)}`);
  }
  const file = path.join(agent.spec.folder, 'other.toml');
  writeFileSync(file, text);
  return file;
}

const startOnce = (configFile: string): Promise<CommandResult> =>
  runCommand(keyagentd, ['--config', configFile], { timeoutMs: 30_000 });

/** Inodes of the sockets. */
const places = ({ socket, controlSocket }: Agent): number[] =>
  [socket, controlSocket].map((each) => statSync(each).ino);

test('of agents that start at the same time one serves; the others end with 78 and take nothing', async (t) => {
  const cleanup = cleanupAfter(t);
  const agent = new Agent(cleanup, await specIn(cleanup));
  const daemons = Array.from({ length: 3 }, (_, i) => {
    const logFile = path.join(agent.spec.folder, `agent-${i}.log`);
    return new Daemon(cleanup, { command: keyagentd, args: ['--config', agent.configFile], logFile });
  });
  const [winner, ...others] = await waitFor('one is left', () => {
    const running = daemons.filter((daemon) => daemon.running);
    return running.length <= 1 && running;
  });
  assert.ok(winner !== undefined && others.length === 0);
  for (const loser of daemons.filter((daemon) => daemon !== winner)) {
    assert.equal(await loser.ended(), 78);
    assert.match(
      loser.log,
      /^keyagentd: \S+: an agent that runs has this state directory; stop it first \(keyagent stop\)/m,
    );
    assert.equal(loser.log.trimEnd().split('\n').length, 1);
  }
  await waitFor('the winner listens', () => existsSync(agent.controlSocket));
  const status = JSON.parse(await agent.mustKeyagent(['status', '--json'])) as { pid: number };
  assert.equal(status.pid, winner.pid);
});

test('another agent gets neither the sockets nor the state directory of one that runs', async (t) => {
  const cleanup = cleanupAfter(t);
  const agent = await startAgent(cleanup, await specIn(cleanup));
  const before = places(agent);
  const elsewhere = path.join(agent.spec.folder, 'elsewhere');

  const sameSockets = await startOnce(variant(agent, { state_dir: path.join(elsewhere, 'state') }));
  assert.equal(sameSockets.status, 78);
  assert.match(sameSockets.stderr, /^keyagentd: an agent already listens on \S+agent\.sock; stop it first/m);

  const sockets = { socket: path.join(elsewhere, 'a.sock'), control_socket: path.join(elsewhere, 'c.sock') };
  const sameState = await startOnce(variant(agent, sockets));
  assert.equal(sameState.status, 78);
  assert.match(
    sameState.stderr,
    /^keyagentd: \S+\/state: an agent that runs has this state directory; .* state_dir of its own$/m,
  );
  assert.ok(!existsSync(sockets.socket));

  assert.deepEqual(places(agent), before);
  await agent.mustKeyagent(['status']);
});

test('an agent that was killed leaves no hold on its places, nor do its token hosts have one', async (t) => {
  const cleanup = cleanupAfter(t);
  const agent = await startAgent(cleanup, await specIn(cleanup));
  await agent.settled('web');
  const [host] = childrenOf(agent.daemon.pid);
  assert.ok(host !== undefined);
  const held = (pid: number) =>
    readdirSync(`/proc/${pid}/fd`)
      .map((fd) => linkOf(`/proc/${pid}/fd/${fd}`))
      .filter((file) => /\/lock$|\.lock$/.test(file));
  assert.equal(held(agent.daemon.pid).length, 3);
  assert.deepEqual(held(host), []);
  agent.daemon.signal('SIGKILL');
  await agent.daemon.ended();
  assert.ok(existsSync(agent.socket), 'a dead socket is left');
  await agent.start();
  await agent.mustKeyagent(['status']);
});

test('"keyagent stop" returns when the next agent may start', async (t) => {
  const cleanup = cleanupAfter(t);
  const agent = await startAgent(cleanup, await specIn(cleanup));
  for (let round = 0; round < 5; round++) {
    const { daemon } = agent;
    await agent.mustKeyagent(['stop']);
    await agent.start();
    assert.equal(await daemon.ended(), 0);
  }
});

test('a state directory, and a file in it, that others can write to are refused', asRoot, async (t) => {
  const cleanup = cleanupAfter(t);
  const agent = new Agent(cleanup, await specIn(cleanup));
  const { stateDir } = agent;
  const budget = path.join(stateDir, 'web.budget.json');
  const refused = async (message: RegExp): Promise<void> => {
    const { status, stderr } = await startOnce(agent.configFile);
    assert.deepEqual([status, stderr.trimEnd().split('\n').length], [78, 1], stderr);
    assert.match(stderr, message);
    assert.ok(!existsSync(agent.socket));
  };
  chmodSync(stateDir, 0o777);
  await refused(/state: mode 0777 lets others write to it; chmod go-w it$/m);
  chmodSync(stateDir, 0o700);
  chownSync(stateDir, account('games').uid, 0);
  await refused(/state: belongs to uid \d+; it must belong to root/);
  chownSync(stateDir, 0, 0);
  writeFileSync(budget, '{}');
  chmodSync(budget, 0o660);
  await refused(/web\.budget\.json: mode 0660 lets others write to it/);
  chmodSync(budget, 0o600);
  chownSync(budget, account('games').uid, 0);
  await refused(/web\.budget\.json: belongs to uid/);
  cpSync(budget, path.join(agent.spec.folder, 'budget'));
  symlinkSync(path.join(agent.spec.folder, 'budget'), path.join(stateDir, 'web.serial.json'));
  chownSync(budget, 0, 0);
  await refused(/web\.serial\.json: is a symbolic link/);
  const open = path.join(agent.spec.folder, 'open');
  mkdirSync(path.join(open, 'state'), { recursive: true, mode: 0o700 });
  chmodSync(open, 0o777);
  agent.configure(({ agent: table }) => (table.state_dir = path.join(open, 'state')));
  await refused(/open: mode 0777 lets others write to it/);
});

test('a server in a chroot signs by a socket in there, another user does not reach it', asRoot, async (t) => {
  const cleanup = cleanupAfter(t);
  const jail = path.join(scratchFolder(cleanup), 'jail');
  for (const folder of ['run', 'usr', root]) mkdirSync(path.join(jail, folder), { recursive: true });
  for (const link of ['bin', 'lib', 'lib64']) symlinkSync(`usr/${link}`, path.join(jail, link));
  const [games, daemon] = [account('games'), account('daemon')];
  const deployment = await deploy(cleanup, {
    keys: [{ label: 'www', type: 'EC:prime256v1' }],
    agent: {
      agentSettings: { sockets: [{ path: path.join(jail, 'run/agent.sock'), group: games.group }] },
      rules: [{ keys: 'pkcs11:', users: [games.name, daemon.name] }],
    },
  });
  const { mode, gid } = statSync(path.join(jail, 'run/agent.sock'));
  assert.deepEqual([mode & 0o7777, gid], [0o660, games.gid]);

  // The mounts are gone with the process.
  const bind = `for each in /usr ${root}; do mount --rbind $each ${jail}$each || exit; done`;
  const enter = ({ uid, gid: group }: typeof games) => [
    ...['--mount', 'sh', '-c', `${bind}; exec chroot ${jail} "$@"`, 'sh'],
    ...['setpriv', `--reuid=${uid}`, `--regid=${group}`, '--clear-groups', process.execPath],
  ];
  const asker = await Asker.start(cleanup, { socket: '/run/agent.sock' }, 'unshare', enter(games));
  const question = { method: 'sign', alg: 'ecdsa-sha256', bytes: '' } as const;
  const uri = deployment.uri('www', 'private');
  assert.equal((await asker.ask({ ...question, uri })).code, 'ok');
  await assert.rejects(
    Asker.start(cleanup, { socket: '/run/agent.sock' }, 'unshare', enter(daemon)),
    /the asker ended/,
  );
});

function linkOf(link: string): string {
  try {
    return readlinkSync(link);
  } catch (error) {
    // The descriptor of the reading itself.
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return '';
    throw error;
  }
}
