/** What an operator can ask about the rules: of a running agent, and of a file before it is used. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { account, whyNotAs } from './support/account.js';
import { cleanupAfter } from './support/cleanup.js';
import { runCommand } from './support/command.js';
import { deploy } from './support/deployment.js';
import { keyagentd } from './support/paths.js';

const rules = [
  {
    name: 'web',
    keys: 'pkcs11:object=www',
    users: ['www-data'],
    operations: ['sign'],
    purpose: 'tls-server',
  },
  { name: 'archive', keys: 'pkcs11:object=www', groups: ['backup'], operations: ['sign', 'decrypt'] },
  {
    name: 'again',
    keys: 'pkcs11:object=www',
    users: ['backup'],
    groups: ['backup'],
    operations: ['decrypt'],
  },
];

test('check-access tells of the running agent which rule decides', async (t) => {
  const { agent, token } = await deploy(cleanupAfter(t), {
    keys: [{ label: 'www', type: 'rsa:2048' }],
    agent: { rules },
  });
  const uri = `pkcs11:token=${token.label};object=www`;
  const ask = (user: string, alg: string) =>
    agent.keyagent(['check-access', '--user', user, '--key', uri, '--alg', alg]);

  const web = await ask('www-data', 'rsa-pss-sha256');
  assert.equal(web.status, 0);
  assert.match(
    web.stdout,
    /rule "web": matches and decides for tls-server messages: allowed; others go on\n/,
  );
  const backup = await ask('backup', 'rsa-oaep-sha256');
  assert.equal(backup.status, 0);
  assert.match(
    backup.stdout,
    /rule "web": does not match: users\nrule "archive": matches and decides: allowed\n$/,
  );
  const root = await ask('root', 'rsa-pss-sha256');
  assert.equal(root.status, 77);
  assert.match(root.stdout, /rule "web": does not match: users\nrule "archive": does not match: groups\n/);
  const ecdsa = await ask('www-data', 'ecdsa-sha256');
  assert.equal(ecdsa.status, 65);
  assert.match(ecdsa.stderr, /cannot do ecdsa/);
});

const user = account('www-data');

test('check-access answers operators only', { skip: whyNotAs(user) }, async (t) => {
  const { agent } = await deploy(cleanupAfter(t), {
    keys: [{ label: 'www', type: 'rsa:2048' }],
    agent: { rules },
  });
  const ask = (options = {}) =>
    agent.keyagent(
      ['check-access', '--user', user.name, '--key', 'pkcs11:object=www', '--alg', 'rsa-pss-sha256'],
      options,
    );
  assert.equal((await ask()).status, 0);
  assert.equal((await ask({ uid: user.uid, gid: account('backup').gid })).status, 77);
});

test('--check-config finds what is odd about rules, and knows the keys of the last unlock', async (t) => {
  const { agent } = await deploy(cleanupAfter(t), {
    keys: [
      { label: 'www', type: 'rsa:2048' },
      { label: 'lost', type: 'EC:prime256v1' },
    ],
    agent: { rules },
  });
  const { status, stdout } = await runCommand(keyagentd, ['--config', agent.configFile, '--check-config']);
  const lines = stdout.trimEnd().split('\n');
  assert.equal(status, 0);
  for (const finding of [
    /: rule "again" never decides: "archive" before it matches whatever it would match$/,
    /: rule "archive" lets the same key sign and decrypt; /,
    /: key pkcs11:token=web;\S*object=www\S* may sign \("web"\) and decrypt \("archive"\); use a key for each$/,
    /: key pkcs11:token=web;\S*object=lost\S* is mentioned by no rule: nobody can use it$/,
    /: 1 tokens, 3 rules, 2 known keys: can be used; findings: 4$/,
  ]) {
    assert.equal(lines.filter((line) => finding.test(line)).length, 1, `${finding.source} in\n${stdout}`);
  }
});
