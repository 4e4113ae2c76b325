/** A machine that boots with keyagent's units as they are shipped: unlocked without hands, rules by unit, stop revokes. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { cleanupAfter } from './support/cleanup.js';
import { Machine, whyNoMachine } from './support/machine.js';
import { blocksOf } from './support/markdown.js';
import { softHsmModule } from './support/paths.js';
import { waitFor } from './support/wait.js';

const pin = '482916';
const softHsmConf = '/etc/keyagent/softhsm2.conf';
const tokens = '/var/lib/keyagent/tokens';
const config = `
[[token]]
name = "web"
module = "${softHsmModule}"
uri = "pkcs11:token=web"
unlock = ["credential", "prompt"]
env = { SOFTHSM2_CONF = "${softHsmConf}" }

[[rule]]
name = "web server"
keys = "pkcs11:object=www"
units = ["web.service"]
operations = ["sign"]

[[rule]]
name = "program"
keys = "pkcs11:object=www"
exe = ["${process.execPath}"]
operations = ["sign"]
`;
const credential = '/etc/credstore.encrypted/keyagent.web.pin';
const units = ['keyagent.service', 'keyagent.socket', 'keyagent-control.socket'];

/** What a package does. */
async function install(machine: Machine): Promise<void> {
  await machine.mustRun('sh', [
    '-ec',
    `cd /opt/keyagent
    ln -s /opt/keyagent/build/bin/keyagentd /opt/keyagent/build/bin/keyagent /usr/bin/
    cp ${units.map((unit) => `systemd/${unit}`).join(' ')} /etc/systemd/system/
    systemd-sysusers /opt/keyagent/systemd/sysusers.d/keyagent.conf
    systemd-tmpfiles --create /opt/keyagent/systemd/tmpfiles.d/keyagent.conf`,
  ]);
}

/** What an administrator does. */
async function configure(machine: Machine): Promise<void> {
  await machine.write('/etc/keyagent/keyagent.toml', config);
  await machine.write(softHsmConf, `directories.tokendir = ${tokens}\nobjectstore.backend = file\n`);
  const asAgent = [
    '--reuid=keyagent',
    '--regid=keyagent',
    '--clear-groups',
    'env',
    `SOFTHSM2_CONF=${softHsmConf}`,
  ];
  await machine.mustRun('install', [
    '-d',
    '-o',
    'keyagent',
    '-g',
    'keyagent',
    '-m',
    '0700',
    '/var/lib/keyagent',
    tokens,
  ]);
  await machine.mustRun('setpriv', [
    ...asAgent,
    ...['softhsm2-util', '--init-token', '--free', '--label', 'web', '--so-pin', '12345678', '--pin', pin],
  ]);
  await machine.mustRun('setpriv', [
    ...asAgent,
    ...['pkcs11-tool', '--module', softHsmModule, '--token-label', 'web', '--login', '--pin', pin],
    ...['--keypairgen', '--key-type', 'EC:prime256v1', '--label', 'www', '--id', '01'],
  ]);
  await machine.mustRun('mkdir', ['-p', '/etc/credstore.encrypted']);
  await machine.mustRun('systemd-creds', ['encrypt', '--name=keyagent.web.pin', '-', credential], {
    input: pin,
  });
  const dropIn = `[Service]\nLoadCredentialEncrypted=keyagent.web.pin:${credential}\n`;
  await machine.write('/etc/systemd/system/keyagent.service.d/credential.conf', dropIn);
  await machine.mustRun('systemctl', ['daemon-reload']);
  await machine.mustRun('systemctl', ['enable', '--quiet', 'keyagent']);
}

const asWwwData = ['User=www-data', 'SupplementaryGroups=keyagent'];
const signCommand = ['sign', '--key', 'pkcs11:object=www', '--alg', 'ecdsa-sha256', '--out', '/dev/null'];

/** Exit status of a signature that a service makes. */
async function sign(
  machine: Machine,
  unit: string,
  { properties = asWwwData, command = ['keyagent'] } = {},
): Promise<{ status: number; stderr: string }> {
  const { status, stderr } = await machine.service(unit, properties, [...command, ...signCommand]);
  return { status, stderr };
}

/** What a page of docs/ says to put into a file. */
function iniOf(page: string): string {
  const [block] = blocksOf(page).filter(({ language }) => language === 'ini');
  assert.ok(block !== undefined, page);
  return block.text;
}

const journal = (machine: Machine): Promise<string> =>
  machine.mustRun('journalctl', ['--quiet', '--unit=keyagent', '--output=cat']);

async function unlocked(machine: Machine): Promise<void> {
  await waitFor('the token is unlocked', async () => {
    const status = await machine.mustRun('keyagent', ['status', '--json']);
    return (JSON.parse(status) as { tokens: { state: string }[] }).tokens[0]?.state === 'unlocked';
  });
}

/** The effective ones of the agent and of its token host. */
async function capabilities(machine: Machine): Promise<string[]> {
  const agent = (
    await machine.mustRun('systemctl', ['show', '--property=MainPID', '--value', 'keyagent'])
  ).trim();
  const host = (await machine.mustRun('pgrep', ['--parent', agent])).trim();
  const status = await machine.mustRun('cat', [`/proc/${agent}/status`, `/proc/${host}/status`]);
  return [...status.matchAll(/^CapEff:\t(.*)$/gm)].map(([, set = '']) => set);
}

const isActive = async (machine: Machine, unit: string): Promise<boolean> =>
  (await machine.run('systemctl', ['is-active', '--quiet', unit])).status === 0;

test('the units as they are shipped', async (t) => {
  const obstacle = await whyNoMachine();
  if (obstacle !== undefined) {
    t.skip(obstacle);
    return;
  }
  const machine = await Machine.boot(cleanupAfter(t));
  await install(machine);
  await configure(machine);

  await t.test('the sockets start the agent, which a credential unlocks', async () => {
    await machine.mustRun('systemctl', ['start', 'keyagent.socket', 'keyagent-control.socket']);
    assert.equal(await isActive(machine, 'keyagent.service'), false);
    await unlocked(machine);
    assert.equal(await isActive(machine, 'keyagent.service'), true);
  });

  await t.test('a rule for a unit allows that unit and no other of the same user', async () => {
    assert.deepEqual(await sign(machine, 'web.service'), { status: 0, stderr: '' });
    const other = await sign(machine, 'other.service');
    assert.equal(other.status, 77, other.stderr);
    assert.doesNotMatch(await journal(machine), /do not match/, 'the agent sees the units');
  });

  await t.test('a rule for a program matches nothing, and the log says what it needs', async () => {
    assert.match(await journal(machine), /rules with exe match programs of this user only: .*CAP_SYS_PTRACE/);
    assert.equal((await sign(machine, 'other.service')).status, 77);
  });

  await t.test('with the documented drop-in it allows that program and no other', async () => {
    await machine.write('/etc/systemd/system/keyagent.service.d/exe.conf', iniOf('policy.md'));
    await machine.mustRun('systemctl', ['daemon-reload']);
    await machine.mustRun('systemctl', ['restart', 'keyagent']);
    await unlocked(machine);
    assert.deepEqual(await sign(machine, 'other.service'), { status: 0, stderr: '' });
    await machine.mustRun('cp', [process.execPath, '/usr/local/bin/another']);
    const command = ['/usr/local/bin/another', '/opt/keyagent/agent/dist/cli/main.js'];
    assert.equal((await sign(machine, 'other.service', { command })).status, 77);
    assert.deepEqual(await capabilities(machine), ['0000000000080000', '0000000000000000']);
  });

  await t.test('the documented socket in a chroot serves its group, and no other', async () => {
    const [unit, socket] = ['keyagent-haproxy.socket', '/var/lib/haproxy/run/keyagent/agent.sock'];
    await machine.write(`/etc/systemd/system/${unit}`, iniOf('sockets.md'));
    const [commands] = blocksOf('sockets.md').filter(({ language }) => language === 'sh');
    await machine.mustRun('sh', ['-ec', commands?.text ?? 'false']);
    await unlocked(machine);
    const properties = ['User=haproxy', `Environment=KEYAGENT_SOCK=${socket}`];
    assert.deepEqual(await sign(machine, 'web.service', { properties }), { status: 0, stderr: '' });
    const another = [...asWwwData, `Environment=KEYAGENT_SOCK=${socket}`];
    assert.equal((await sign(machine, 'web.service', { properties: another })).status, 77);
  });

  await t.test('systemctl reload takes over a changed file', async () => {
    await machine.write('/etc/keyagent/keyagent.toml', `${config}\n[audit]\njournald = true\n`);
    await machine.mustRun('systemctl', ['reload', 'keyagent']);
    await waitFor('it is reloaded', async () => (await journal(machine)).includes('configuration reloaded'));
    assert.equal((await sign(machine, 'web.service')).status, 0, 'and is unlocked as before');
  });

  await t.test('systemctl stop revokes: nobody starts the agent by connecting', async () => {
    await machine.mustRun('systemctl', ['stop', 'keyagent']);
    for (const unit of units) assert.equal(await isActive(machine, unit), false, unit);
    assert.equal((await sign(machine, 'web.service')).status, 69);
    assert.equal(await isActive(machine, 'keyagent.service'), false);
  });

  await t.test('the journal has the head of the audit log, which the log is held against', async () => {
    const journal = ['--quiet', '--identifier=keyagentd', '--grep=^audit head', '--output=cat'];
    const [last] = (await machine.mustRun('journalctl', journal)).trimEnd().split('\n').slice(-1);
    const head = /(\d+:[0-9a-f]{64})/.exec(last ?? '')?.[1];
    assert.ok(head !== undefined, last);
    await machine.mustRun('keyagent', ['audit', 'verify', '--expect', head]);
    const another = head.replace(/.$/, (digit) => (digit === '0' ? '1' : '0'));
    assert.equal((await machine.run('keyagent', ['audit', 'verify', '--expect', another])).status, 65);
  });

  await t.test('systemctl start unlocks it again, by the credential', async () => {
    await machine.mustRun('systemctl', ['start', 'keyagent']);
    await unlocked(machine);
    assert.equal((await sign(machine, 'web.service')).status, 0);
  });

  await t.test('keyagent stop revokes: socket activation does not undo it, an operator does', async () => {
    await machine.mustRun('keyagent', ['stop']);
    await waitFor('the service has stopped', async () => !(await isActive(machine, 'keyagent.service')));
    assert.equal((await sign(machine, 'web.service')).status, 75, 'locked');
    assert.equal(await isActive(machine, 'keyagent.service'), true, 'it was started by the connection');
    await machine.mustRun('keyagent', ['unlock', 'web', '--stdin'], { input: `${pin}\n` });
    assert.equal((await sign(machine, 'web.service')).status, 0);
  });
});
