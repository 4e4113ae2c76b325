/** keyagent doctor, as root for www-data and as www-data: each thing that keeps a server from its key is told, and what to do. */
import assert from 'node:assert/strict';
import { chmodSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { test, type TestContext } from 'node:test';
import { account, isRoot } from './support/account.js';
import { cleanupAfter } from './support/cleanup.js';
import { deploy, type Deployment } from './support/deployment.js';
import { providerModule } from './support/paths.js';

const asRoot = { skip: isRoot ? false : 'needs root, to look as another user' };
const keys = [
  { label: 'www', type: 'rsa:2048' },
  { label: 'ec', type: 'EC:prime256v1' },
] as const;
const rules = [
  { name: 'web', keys: 'pkcs11:object=www', users: ['www-data'], purpose: 'tls-server' },
  { name: 'unit', keys: 'pkcs11:object=ec', users: ['daemon'], units: ['other.service'] },
];

interface Finding {
  name: string;
  verdict: 'ok' | 'note' | 'problem';
  says: string;
  remedy?: string;
}

/** The agent's own file tells where its sockets are. */
const fromConfiguration = { KEYAGENT_SOCK: undefined, KEYAGENT_CONTROL_SOCK: undefined };

interface Setting {
  user?: string;
  key?: string;
  env?: Record<string, string>;
  uid?: number;
}

class Doctor {
  constructor(readonly deployment: Deployment) {}

  /** A file of OpenSSL's, made from a good one. */
  conf(change: (good: string) => string): string {
    const file = path.join(this.deployment.folder, 'changed.cnf');
    writeFileSync(file, change(readFileSync(this.deployment.opensslEnv.OPENSSL_CONF ?? '', 'utf8')));
    return file;
  }

  async ask({
    user,
    key,
    env,
    ...ids
  }: Setting): Promise<{ status: number; checks: Finding[]; stderr: string }> {
    const { agent, opensslEnv } = this.deployment;
    const args = ['--config', agent.configFile, '--json', 'doctor'];
    if (user !== undefined) args.push('--user', user);
    if (key !== undefined) args.push('--key', key);
    for (const [name, value] of Object.entries({ ...opensslEnv, ...env }))
      args.push('--env', `${name}=${value}`);
    const { status, stdout, stderr } = await agent.keyagent(args, {
      ...ids,
      ...(ids.uid === undefined ? {} : { gid: account('www-data').gid }),
      env: fromConfiguration,
    });
    const { checks } = JSON.parse(stdout) as { checks: Finding[] };
    return { status, checks, stderr };
  }

  /** Exactly one problem, with this exit status. */
  async assertProblem(
    setting: Setting,
    status: number,
    name: string,
    says: RegExp,
    remedy: RegExp,
  ): Promise<void> {
    const found = await this.ask({ user: 'www-data', ...setting });
    const problems = found.checks.filter(({ verdict }) => verdict === 'problem');
    const all = JSON.stringify(found, undefined, 1);
    assert.deepEqual([found.status, problems.map((each) => each.name)], [status, [name]], all);
    assert.match(problems[0]?.says ?? '', says);
    assert.match(problems[0]?.remedy ?? '', remedy);
    assert.match(found.stderr, new RegExp(`a problem for \\S+: ${name}`));
  }
}

async function doctorFor(t: TestContext): Promise<Doctor> {
  return new Doctor(await deploy(cleanupAfter(t), { keys, agent: { rules } }));
}

test('doctor finds a set-up good, and what spoils it', asRoot, async (t) => {
  const doctor = await doctorFor(t);
  const { deployment } = doctor;
  const { agent } = deployment;
  const key = deployment.uri('www', 'private');

  await t.test('all is well: it loads the key and signs as that user', async () => {
    const { status, checks, stderr } = await doctor.ask({ user: 'www-data', key });
    assert.deepEqual([status, stderr], [0, ''], JSON.stringify(checks, undefined, 1));
    const names = checks.map(({ name, verdict }) => `${verdict} ${name}`);
    const expected = ['configuration', 'agent', 'socket', 'token web', 'rules', 'openssl.cnf', 'provider'];
    expected.push('default provider', 'provider socket', 'engine', 'load key', 'sign');
    assert.deepEqual(
      names,
      expected.map((name) => `ok ${name}`),
    );
    assert.match(
      checks[4]?.says ?? '',
      /www-data may sign for tls-server with \S+object=www\S* \(rule "web"\)/,
    );
  });

  await t.test('all is well for a user who looks for themselves', async () => {
    const { status, checks } = await doctor.ask({ uid: account('www-data').uid, key });
    assert.equal(status, 0, JSON.stringify(checks, undefined, 1));
    assert.equal(checks.at(-1)?.verdict, 'ok');
  });

  await t.test('who is not root is told that rules for a certain unit or program are not seen', async () => {
    const unseen = async (setting: Setting): Promise<string> => {
      const { status, checks } = await doctor.ask(setting);
      const found = checks.find(({ name }) => name === 'rules');
      assert.deepEqual([status, found?.verdict, found?.remedy], [0, 'note', 'run doctor as root']);
      return found?.says ?? '';
    };
    // A rule lets them in a unit only: the agent does not know them from anybody.
    assert.match(
      await unseen({ uid: account('daemon').uid }),
      /^no rule lets daemon sign with any key from here; one for/,
    );
    // Some rule names them, and others sign with it.
    agent.configure(({ rule }) => {
      rule.push({ name: 'opens', keys: 'pkcs11:object=ec', users: ['www-data'], operations: ['decrypt'] });
    });
    await agent.mustKeyagent(['reload']);
    const ec = deployment.uri('ec', 'private');
    assert.match(
      await unseen({ uid: account('www-data').uid, key: ec }),
      /^no rule lets www-data sign with \S*object=ec/,
    );
    agent.configure(({ rule }) => rule.pop());
    await agent.mustKeyagent(['reload']);
  });

  await t.test('nobody but root looks as somebody else', async () => {
    const { uid, gid } = account('www-data');
    const { status, stderr } = await agent.keyagent(['doctor', '--user', 'games'], { uid, gid });
    assert.deepEqual(
      [status, stderr],
      [77, 'keyagent: only root can look as games; run doctor as root or as games\n'],
    );
  });

  await t.test('people get a line for each check', async () => {
    const args = ['--config', agent.configFile, 'doctor', '--user', 'daemon'];
    const { status, stdout } = await agent.keyagent(args, { env: fromConfiguration });
    assert.equal(status, 77);
    assert.match(stdout, /^ok {7}agent: keyagent \S+, pid \d+, answers on /m);
    assert.match(
      stdout,
      /^problem {2}socket: daemon may not connect to \S+ .* -> usermod -aG www-data daemon, then restart/m,
    );
    assert.match(
      stdout,
      /^note {5}rules: daemon may sign with \S*object=ec\S* in a certain unit .*-> keyagent check-access/m,
    );
  });

  await t.test('a directory that the user may not enter', async () => {
    const run = path.dirname(agent.socket);
    chmodSync(run, 0o700);
    await doctor.assertProblem({}, 77, 'socket', /www-data may not enter \S+run \(mode 0700/, /socket_group/);
    chmodSync(run, 0o755);
  });

  await t.test('a user that no rule names', async () => {
    const { checks, status } = await doctor.ask({ user: 'root' });
    assert.equal(status, 77);
    const found = checks.find(({ name }) => name === 'rules');
    assert.match(found?.says ?? '', /^no rule lets root sign with any of 2 keys$/);
    assert.match(found?.remedy ?? '', /\[\[rule\]\] with users = \["root"\]/);
  });

  await t.test('a key that there is not', async () => {
    const { checks, status } = await doctor.ask({ user: 'www-data', key: 'pkcs11:object=none' });
    assert.equal(status, 65);
    assert.deepEqual(
      checks.filter(({ verdict }) => verdict === 'problem').map(({ name }) => name),
      ['rules', 'load key'],
    );
  });

  const spoilt: [string, (good: string) => string, string, RegExp, RegExp][] = [
    ['no provider', () => '', 'openssl.cnf', /names no provider keyagent/, /keyagent conf openssl/],
    [
      'no default provider',
      (good) => good.replace('default = default_sect\n', ''),
      'default provider',
      /not active/,
      /default_sect/,
    ],
    [
      'a module elsewhere',
      (good) => good.replace(providerModule, '/nowhere/keyagent.so'),
      'provider',
      /cannot load \/nowhere\/keyagent.so \(No such file/,
      /module =/,
    ],
    [
      'a module not activated',
      (good) => good.replace(/activate = 1\n$/, ''),
      'provider',
      /does not activate/,
      /activate = 1/,
    ],
    [
      'another socket',
      (good) => good.replace(agent.socket, '/run/other.sock'),
      'provider socket',
      /leads to \/run\/other.sock/,
      /"socket = /,
    ],
  ];
  for (const [what, change, name, says, remedy] of spoilt) {
    await t.test(`OPENSSL_CONF with ${what}`, () =>
      doctor.assertProblem({ env: { OPENSSL_CONF: doctor.conf(change) } }, 78, name, says, remedy),
    );
  }

  await t.test('OPENSSL_CONF that the user cannot read, or that is not there', async () => {
    const file = doctor.conf((good) => good);
    chmodSync(file, 0o600);
    await doctor.assertProblem(
      { env: { OPENSSL_CONF: file } },
      78,
      'openssl.cnf',
      /cannot read \S+ \(EACCES\)/,
      /chmod a\+r/,
    );
    chmodSync(file, 0o644);
    const missing = { OPENSSL_CONF: '/nowhere.cnf' };
    await doctor.assertProblem({ env: missing }, 78, 'openssl.cnf', /\(ENOENT\)/, /keyagent conf openssl/);
  });

  await t.test('an engine that takes pkcs11: URIs first is told with both ways out', async () => {
    const engines = path.join(deployment.folder, 'engines');
    mkdirSync(engines);
    writeFileSync(path.join(engines, 'pkcs11.so'), '');
    const { status, checks } = await doctor.ask({ user: 'www-data', env: { OPENSSL_ENGINES: engines } });
    const engine = checks.find(({ name }) => name === 'engine');
    assert.deepEqual([status, engine?.verdict], [0, 'note']);
    assert.match(engine?.remedy ?? '', /OPENSSL_ENGINES.*keyagent ref/);
  });

  await t.test('a configuration that is wrong', async () => {
    const good = readFileSync(agent.configFile, 'utf8');
    writeFileSync(agent.configFile, good.replace('[audit]', '[audit]\nfiel = "x"'));
    await doctor.assertProblem(
      {},
      78,
      'configuration',
      /keyagent.toml:\d+: audit.fiel: unknown key/,
      /check-config/,
    );
    writeFileSync(agent.configFile, good);
  });

  await t.test('a locked token', async () => {
    await agent.mustKeyagent(['lock', 'web']);
    await doctor.assertProblem({}, 75, 'token web', /locked/, /^keyagent unlock web$/);
  });

  await t.test('a token for which no PIN is tried by itself', async () => {
    agent.configure(({ token: [web] }) => Object.assign(web ?? {}, { unlock: ['credential'] }));
    agent.env.CREDENTIALS_DIRECTORY = deployment.folder;
    writeFileSync(path.join(deployment.folder, 'keyagent.web.pin'), 'wrong', { mode: 0o400 });
    // Only an operator undoes a lock.
    await agent.unlock();
    for (const state of ['locked', 'pin-blocked']) {
      await agent.daemon.stop();
      await agent.start();
      assert.equal(await agent.settled('web'), state);
    }
    await doctor.assertProblem(
      {},
      77,
      'token web',
      /no PIN is tried any more by itself/,
      /^keyagent unlock web$/,
    );
  });

  await t.test('no agent: the rest is judged by the configuration', async () => {
    await agent.daemon.stop();
    await doctor.assertProblem({}, 69, 'agent', /none answers/, /systemctl/);
    const { checks } = await doctor.ask({ user: 'www-data' });
    assert.equal(checks.find(({ name }) => name === 'rules')?.verdict, 'ok');
  });
});
