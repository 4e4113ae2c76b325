import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { after, before, beforeEach, describe, it } from 'node:test';
import { AgentError, type Result } from '@keyagent/protocol';
import { keyagent } from './command.js';
import { FakeAgent } from './fake-agent.js';

const me = execFileSync('id', ['-un'], { encoding: 'utf8' }).trim();
const numbers = (flag: string) =>
  execFileSync('id', [flag], { encoding: 'utf8' }).trim().split(' ').map(Number);
const question = ['check-access', '--user', me, '--key', 'pkcs11:object=www', '--alg', 'rsa-pss-sha256'];
const uri = 'pkcs11:token=web;object=www';

type Access = Result<'check-access'>;

describe('keyagent check-access', () => {
  const agent = new FakeAgent();
  let access: Access;
  before(() => agent.start());
  after(() => agent.stop());
  beforeEach(() => {
    agent.asked.length = 0;
    access = { uri, rules: [], earlier: 0 };
    agent.answers = { 'check-access': () => access };
  });

  it('asks for a user with all its groups, on the control socket', async () => {
    await keyagent(agent, [...question, '--unit', 'a.service', '--exe', '/bin/a']);
    assert.deepEqual(agent.asked, [
      [
        'control',
        'check-access',
        {
          uri: 'pkcs11:object=www',
          alg: 'rsa-pss-sha256',
          uid: numbers('-u')[0],
          gid: numbers('-g')[0],
          groups: numbers('-G'),
          unit: 'a.service',
          exe: '/bin/a',
        },
      ],
    ]);
  });

  it('says which rule decides, and why each one before it does not', async () => {
    access = {
      uri,
      rules: [
        { name: 'admins', verdict: 'groups' },
        { name: 'mail', verdict: 'keys' },
        { name: 'apache', verdict: 'purpose-only', purpose: 'tls-server' },
        { name: 'all', verdict: 'allows' },
      ],
      earlier: 2,
    };
    const { status, stdout, stderr } = await keyagent(agent, question);
    assert.equal(
      String(stdout),
      `${uri}\nby the rules of the running agent:\n` +
        '2 rules before these do not match\n' +
        'rule "admins": does not match: groups\n' +
        'rule "mail": does not match: keys\n' +
        'rule "apache": matches and decides for tls-server messages: allowed; others go on\n' +
        'rule "all": matches and decides: allowed\n',
    );
    assert.deepEqual([status, stderr], [0, '']);
  });

  it('exits with 77 when no rule allows, and says so on one line', async () => {
    access = { uri, rules: [{ name: 'admins', verdict: 'users' }], earlier: 0 };
    const { status, stdout, stderr } = await keyagent(agent, question);
    assert.equal(status, 77);
    assert.match(
      String(stdout),
      /\nrule "admins": does not match: users\n.*: denied whatever no rule above allows\n$/,
    );
    assert.equal(
      stderr,
      `keyagent: no rule allows ${me} to sign with rsa-pss-sha256 and ${uri}; add a [[rule]] to the configuration\n`,
    );
  });

  it('prints one JSON document', async () => {
    access = { uri, rules: [{ name: 'all', verdict: 'allows' }], earlier: 0 };
    const { stdout } = await keyagent(agent, [...question, '--json']);
    assert.deepEqual(JSON.parse(String(stdout)), {
      ...access,
      allowed: true,
      source: 'the rules of the running agent',
    });
  });

  it('does not let the name of a rule write to the terminal', async () => {
    access = { uri, rules: [{ name: 'a\u001b[2J', verdict: 'allows' }], earlier: 0 };
    const { stdout } = await keyagent(agent, question);
    assert.ok(!String(stdout).includes('\u001b'));
  });

  it('passes on what the agent says of a key', async () => {
    agent.answers = {
      'check-access': () => {
        throw new AgentError('NOT_FOUND', 'no key matches');
      },
    };
    const { status, stderr } = await keyagent(agent, question);
    assert.deepEqual([status, stderr], [65, 'keyagent: no key matches\n']);
  });

  for (const [what, argv, status, said] of [
    ['an unknown user', ['--user', 'no-such-user'], 65, /user "no-such-user" is not known here/],
    ['an unknown algorithm', ['--alg', 'rsa'], 64, /"rsa" is no algorithm; use one of: rsa-pkcs1-sha256,/],
    ['a URI that is none', ['--key', 'www'], 65, /does not begin with "pkcs11:"/],
  ] as const) {
    it(`refuses ${what}`, async () => {
      const result = await keyagent(agent, [...question, ...argv]);
      assert.equal(result.status, status);
      assert.match(result.stderr, said);
      assert.deepEqual(agent.asked, []);
    });
  }
});

describe('keyagent check-access where no agent runs', () => {
  const directory = mkdtempSync(path.join(tmpdir(), 'keyagent-access-'));
  const config = path.join(directory, 'keyagent.toml');
  const nowhere = { KEYAGENT_SOCK: path.join(directory, 'agent.sock'), KEYAGENT_CONFIG: config };
  const cached = {
    label: 'www',
    id: 'AQ==',
    algorithm: 'rsa',
    bits: 2048,
    spki: 'AA==',
    certificates: [],
    mechanisms: ['rsa-pss'],
    completed: [],
    alwaysAuthenticate: false,
  };
  before(() => {
    const token = '[[token]]\nname = "web"\nmodule = "/lib/m.so"\nuri = "pkcs11:token=web"\n';
    const rules = `[[rule]]\nname = "mail"\nkeys = "pkcs11:object=mail"\nusers = ["${me}"]\n[[rule]]\nname = "web"\nkeys = "pkcs11:id=%01"\nusers = ["${me}"]\n`;
    writeFileSync(config, `[agent]\nstate_dir = "${directory}"\n${token}${rules}`);
  });
  after(() => {
    rmSync(directory, { recursive: true });
  });

  it('goes by the configuration and the keys of the last unlock', async () => {
    writeFileSync(
      path.join(directory, 'web.keys.json'),
      JSON.stringify({ version: 1, serial: '7', keys: [cached] }),
    );
    const { status, stdout } = await keyagent(new FakeAgent(), question, { env: nowhere });
    assert.equal(
      String(stdout),
      `pkcs11:token=web;serial=7;object=www;id=%01\nby ${config} (no agent runs):\n` +
        'rule "mail": does not match: keys\nrule "web": matches and decides: allowed\n',
    );
    assert.equal(status, 0);
  });

  it('knows no key that was never seen, and says that no agent runs', async () => {
    const argv = [...question, '--key', 'pkcs11:object=other'];
    const { status, stderr } = await keyagent(new FakeAgent(), argv, { env: nowhere });
    assert.equal(status, 69);
    assert.match(stderr, /control\.sock/);
  });

  it('says that a key cannot do the algorithm', async () => {
    const { status, stderr } = await keyagent(new FakeAgent(), [...question, '--alg', 'ed25519'], {
      env: nowhere,
    });
    assert.equal(status, 65);
    assert.match(stderr, /is rsa: it cannot do ed25519/);
  });
});
