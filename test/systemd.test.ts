/** systemd's side: the units are sound and tight, sockets are taken from it, and it is told when the agent listens. */
import assert from 'node:assert/strict';
import { cpSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { test } from 'node:test';
import { Agent, startAgent, type AgentSpec } from './support/agent.js';
import { makeAuthority } from './support/authority.js';
import { cleanupAfter, type Cleanup } from './support/cleanup.js';
import { mustRun } from './support/command.js';
import { listenForNotifications } from './support/notify-socket.js';
import { keyagentd, root } from './support/paths.js';
import { scratchFolder } from './support/scratch.js';
import { SoftHsm } from './support/softhsm.js';

/** Copies of the units that name the built agent instead of an installed one. */
function unitsIn(folder: string): string {
  cpSync(path.join(root, 'systemd'), folder, { recursive: true });
  const service = path.join(folder, 'keyagent.service');
  const text = readFileSync(service, 'utf8');
  assert.match(text, /^ExecStart=\/usr\/bin\/keyagentd /m);
  writeFileSync(service, text.replace('ExecStart=/usr/bin/keyagentd', `ExecStart=${keyagentd}`));
  return service;
}

async function lockedAgentSpec(cleanup: Cleanup): Promise<AgentSpec> {
  const folder = scratchFolder(cleanup);
  const hsm = new SoftHsm(folder, await makeAuthority(folder));
  const token = await hsm.makeToken('web', [{ label: 'www', type: 'EC:prime256v1' }]);
  return { folder, hsm, tokens: [token] };
}

test('systemd-analyze verify finds nothing in the units', async (t) => {
  const folder = scratchFolder(cleanupAfter(t));
  unitsIn(folder);
  const units = ['keyagent.service', 'keyagent.socket', 'keyagent-control.socket'].map((name) =>
    path.join(folder, name),
  );
  const { stdout, stderr } = await mustRun('systemd-analyze', ['verify', ...units]);
  assert.equal(`${stdout}${stderr}`, '');
});

test('systemd-analyze security scores the service at 1.0 or better', async (t) => {
  const service = unitsIn(scratchFolder(cleanupAfter(t)));
  const { stdout } = await mustRun('systemd-analyze', ['security', '--offline=true', '--no-pager', service]);
  const score = /Overall exposure level for keyagent\.service: ([\d.]+) /.exec(stdout)?.[1];
  assert.ok(score !== undefined && Number(score) <= 1.0, `exposure level ${String(score)}`);
});

test('systemd-sysusers and systemd-tmpfiles accept their files', async (t) => {
  const folder = scratchFolder(cleanupAfter(t));
  mkdirSync(path.join(folder, 'etc'));
  await mustRun('systemd-sysusers', [
    `--root=${folder}`,
    path.join(root, 'systemd/sysusers.d/keyagent.conf'),
  ]);
  assert.match(readFileSync(path.join(folder, 'etc/passwd'), 'utf8'), /^keyagent:/m);
  assert.match(readFileSync(path.join(folder, 'etc/group'), 'utf8'), /^keyagent:/m);
  const tmpfiles = path.join(root, 'systemd/tmpfiles.d/keyagent.conf');
  await mustRun('systemd-tmpfiles', ['--create', `--root=${folder}`, tmpfiles]);
});

test('the agent says READY to NOTIFY_SOCKET, by its own pid, once both sockets listen and while it is locked', async (t) => {
  const cleanup = cleanupAfter(t);
  const spec = await lockedAgentSpec(cleanup);
  const notifySocket = path.join(spec.folder, 'notify');
  const notifications = await listenForNotifications(cleanup, notifySocket);
  const agent = await startAgent(cleanup, { ...spec, env: { NOTIFY_SOCKET: notifySocket } });
  const first = (await notifications.next()).value as { pid: number; message: string };
  assert.deepEqual(first, { pid: agent.daemon.pid, message: 'READY=1' });
  assert.equal(await agent.settled('web'), 'locked');
});

test('the agent serves on the sockets that systemd-socket-activate hands over', async (t) => {
  const cleanup = cleanupAfter(t);
  const agent = new Agent(cleanup, await lockedAgentSpec(cleanup));
  await agent.startActivated();
  const { pid } = agent.daemon;
  const status = JSON.parse(await agent.mustKeyagent(['status', '--json'])) as { pid: number };
  assert.equal(status.pid, pid);
  await agent.unlock();
  assert.match(await agent.mustKeyagent(['pubkey', 'pkcs11:object=www']), /^-----BEGIN PUBLIC KEY-----/);
});

test('a descriptor of another name than client and control ends the agent with 78', async (t) => {
  const cleanup = cleanupAfter(t);
  const agent = new Agent(cleanup, await lockedAgentSpec(cleanup));
  await agent.startActivated(['client', 'metrics']);
  await agent.keyagent(['status']);
  assert.equal(await agent.daemon.ended(), 78);
  assert.match(agent.daemon.log, /"metrics"/);
});
