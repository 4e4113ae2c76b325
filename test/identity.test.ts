/** What a peer's pid is good for: units and executables count only while it is certain which process a connection has. */
import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { copyFileSync, renameSync, rmSync } from 'node:fs';
import path from 'node:path';
import { test } from 'node:test';
import { encodeRequest, protocolVersion } from '@keyagent/protocol';
import { account, isRoot } from './support/account.js';
import { Asker, askerProgram, type AskerSpec } from './support/asker.js';
import { cgroupRoot, makeCgroup } from './support/cgroup.js';
import { cleanupAfter, type Cleanup } from './support/cleanup.js';
import { runCommand } from './support/command.js';
import { deploy, type Deployment } from './support/deployment.js';
import { childrenOf } from './support/proc.js';
import { waitFor } from './support/wait.js';

const unit = `keyagent-test-${process.pid}.service`;
const { uid, gid } = account('games');
const games = { uid, gid, groups: [] };
const skip =
  isRoot && cgroupRoot() !== undefined ? false : 'needs root and a cgroup2 mount, for real identities';

/** A key for each kind of rule; who may use one shows by which of them answer. */
const labels = ['byuid', 'byunit', 'byexe'] as const;
const byUid = { name: 'uid', keys: 'pkcs11:object=byuid', users: ['games'] };
const byUnit = { name: 'unit', keys: 'pkcs11:object=byunit', units: [unit] };

async function deployFor(cleanup: Cleanup, exe: string): Promise<Deployment> {
  return deploy(cleanup, {
    keys: labels.map((label) => ({ label, type: 'EC:prime256v1' })),
    agent: {
      rules: [byUid, byUnit, { name: 'exe', keys: 'pkcs11:object=byexe', exe: [exe] }],
      agentSettings: { socket_mode: '0666' },
    },
  });
}

/** Keys that sign for the asker. */
async function rights(asker: Asker, deployment: Deployment): Promise<string[]> {
  const granted: string[] = [];
  for (const label of labels) {
    const uri = deployment.uri(label, 'private');
    const { code } = await asker.ask({ method: 'sign', uri, alg: 'ecdsa-sha256', bytes: '' });
    assert.ok(code === 'ok' || code === 'DENIED', code);
    if (code === 'ok') granted.push(label);
  }
  return granted;
}

test('a process has the rights of its uid, its unit and its executable', { skip }, async (t) => {
  const cleanup = cleanupAfter(t);
  const deployment = await deployFor(cleanup, process.execPath);
  const cgroup = makeCgroup(cleanup, `/system.slice/${unit}`);
  const asker = await Asker.start(cleanup, { socket: deployment.agent.socket, identity: games, cgroup });
  assert.deepEqual(await rights(asker, deployment), ['byuid', 'byunit', 'byexe']);
});

test(
  'an executable that is replaced or deleted while it runs has no rights of its path',
  { skip },
  async (t) => {
    const cleanup = cleanupAfter(t);
    const program = `/tmp/keyagent-test-node-${process.pid}`;
    const deployment = await deployFor(cleanup, program);
    copyFileSync(process.execPath, program);
    cleanup.after(() => {
      rmSync(program, { force: true });
    });
    const asker = await Asker.start(cleanup, { socket: deployment.agent.socket, identity: games }, program);
    assert.deepEqual(await rights(asker, deployment), ['byuid', 'byexe']);
    renameSync(program, `${program}.old`);
    assert.deepEqual(await rights(asker, deployment), ['byuid']);
    copyFileSync(process.execPath, program);
    assert.deepEqual(await rights(asker, deployment), ['byuid'], 'another file has the path now');
    rmSync(`${program}.old`);
    assert.deepEqual(await rights(asker, deployment), ['byuid'], 'deleted');
  },
);

test('a mount namespace of its own lends no path', { skip }, async (t) => {
  const cleanup = cleanupAfter(t);
  const { status } = await runCommand('unshare', ['--mount', 'true']);
  if (status !== 0) {
    t.skip('mount namespaces are not allowed here');
    return;
  }
  const trusted = '/usr/bin/true';
  const deployment = await deployFor(cleanup, trusted);
  const script = `mount --bind "$0" ${trusted} && exec ${trusted} "$@"`;
  const asker = await Asker.start(cleanup, { socket: deployment.agent.socket, identity: games }, 'unshare', [
    ...['--mount', 'sh', '-c', script, process.execPath],
  ]);
  assert.deepEqual(await rights(asker, deployment), ['byuid']);
});

test(
  'a connection that outlives the process that opened it has the rights of the uid only',
  { skip },
  async (t) => {
    const cleanup = cleanupAfter(t);
    const deployment = await deployFor(cleanup, process.execPath);
    const { socket } = deployment.agent;
    const cgroup = makeCgroup(cleanup, `/system.slice/${unit}`);
    // Connects as the asker would, hands the connection to a child, and ends.
    const spec: AskerSpec = { socket, inherited: { fd: 3, greeted: false } };
    const heir = JSON.stringify([askerProgram, JSON.stringify(spec)]);
    const opener = `
    import { spawn } from 'node:child_process';
    import { writeFileSync } from 'node:fs';
    import { connect } from 'node:net';
    writeFileSync(${JSON.stringify(`${cgroup}/cgroup.procs`)}, String(process.pid));
    process.setgroups([]); process.setgid(${gid}); process.setuid(${uid});
    const socket = connect(${JSON.stringify(socket)}, () => {
      spawn(process.execPath, ${heir}, { stdio: ['inherit', 'inherit', 'inherit', socket] }).once('spawn', () => process.exit());
    });`;
    // The shell stays until the heir ends.
    const node = [process.execPath, '--input-type=module', '--eval', opener];
    const shell = spawn('sh', ['-c', '"$0" "$@" | cat', ...node], { stdio: ['pipe', 'pipe', 'inherit'] });
    const asker = await Asker.from(cleanup, shell);
    await waitFor('only cat is left', () => childrenOf(shell.pid ?? 0).length === 1);
    assert.deepEqual(await rights(asker, deployment), ['byuid']);
  },
);

test(
  'a process that executes another program loses the rights of unit and executable',
  { skip },
  async (t) => {
    const cleanup = cleanupAfter(t);
    const deployment = await deployFor(cleanup, process.execPath);
    const { socket } = deployment.agent;
    const cgroup = makeCgroup(cleanup, `/system.slice/${unit}`);
    // perl (on every Debian) greets the agent, waits for its answer and becomes the program that the rule names.
    const hello = encodeRequest({ id: 1, method: 'hello', params: protocolVersion }).toString('hex');
    const spec: AskerSpec = { socket, inherited: { fd: 9, greeted: true } };
    const script = `
    use Socket; use POSIX ();
    open(my $procs, '>', "${cgroup}/cgroup.procs"); print $procs $$; close($procs);
    $( = "${gid} ${gid}"; $) = "${gid} ${gid}"; POSIX::setuid(${uid});
    socket(my $agent, AF_UNIX, SOCK_STREAM, 0); connect($agent, pack_sockaddr_un("${socket}")) or die;
    syswrite($agent, pack('H*', "${hello}")); sysread($agent, my $answer, 4096) or die;
    POSIX::dup2(fileno($agent), 9); exec(@ARGV);`;
    const child = spawn('perl', ['-e', script, process.execPath, askerProgram, JSON.stringify(spec)], {
      stdio: ['pipe', 'pipe', 'inherit'],
    });
    const asker = await Asker.from(cleanup, child);
    assert.equal(asker.pid, child.pid);
    assert.deepEqual(await rights(asker, deployment), ['byuid']);
  },
);

test('root of a user namespace is who it is outside', { skip }, async (t) => {
  const cleanup = cleanupAfter(t);
  const drop = [`--reuid=${uid}`, `--regid=${gid}`, '--clear-groups'];
  const become = [...drop, 'unshare', '--user', '--map-root-user'];
  const { status } = await runCommand('setpriv', [...become, 'test', '-r', askerProgram]);
  if (status !== 0) {
    t.skip('user namespaces are not allowed here, or this checkout is not readable for others');
    return;
  }
  const deployment = await deployFor(cleanup, path.join('/nowhere', 'node'));
  // The agent's user has no name in there either: a careful client would not talk to it.
  const spec = { socket: deployment.agent.socket, careless: true };
  const asker = await Asker.start(cleanup, spec, 'setpriv', [...become, process.execPath]);
  assert.deepEqual(await rights(asker, deployment), ['byuid']);
});
