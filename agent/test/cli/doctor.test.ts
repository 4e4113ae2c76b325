/** The judgements of keyagent doctor that need no machine: facts in, a finding out. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { AgentError } from '@keyagent/protocol';
import type { Access } from '@keyagent/agent/cli/access.js';
import { agentCheck, tokenChecks, type Status } from '@keyagent/agent/cli/doctor/agent.js';
import { opensslChecks, type OpensslFacts } from '@keyagent/agent/cli/doctor/openssl.js';
import { providerSections } from '@keyagent/agent/cli/doctor/openssl-conf.js';
import { ruleChecks, signingAlgorithms, useOf } from '@keyagent/agent/cli/doctor/rules.js';
import { serverEnvironment } from '@keyagent/agent/cli/doctor/server-environment.js';
import { obstacle, socketCheck, type Place } from '@keyagent/agent/cli/doctor/socket.js';
import { tlsMessage } from '@keyagent/agent/cli/doctor/trial.js';
import { messageServes } from '@keyagent/agent/policy/purpose.js';

const account = { uid: 33, gid: 33, groups: [33, 4] };

function place(
  mode: number,
  { uid = 0, gid = 0, needs = 1, group = 'keyagent' }: Partial<Place> = {},
): Place {
  return { path: needs === 1 ? '/run/keyagent' : '/run/keyagent/agent.sock', uid, gid, mode, needs, group };
}

test('obstacle is the first place whose mode shuts the user out, by owner, group or others', () => {
  const rows: [Place, boolean][] = [
    [place(0o755), false],
    [place(0o750), true],
    [place(0o750, { gid: 33 }), false],
    [place(0o750, { gid: 4 }), false],
    [place(0o705, { gid: 4 }), true],
    [place(0o077, { uid: 33 }), true],
    [place(0o100, { uid: 33 }), false],
    [place(0o660, { gid: 4, needs: 2 }), false],
    [place(0o640, { gid: 4, needs: 2 }), true],
    [place(0o662, { needs: 2 }), false],
  ];
  for (const [each, shut] of rows)
    assert.equal(obstacle([place(0o755), each], account) === each, shut, JSON.stringify(each));
  assert.equal(obstacle([place(0)], { uid: 0, gid: 0, groups: [] }), undefined);
});

test('who is shut out is told to join the group that it is open to, but never that of root', () => {
  const facts = {
    socket: '/run/keyagent/agent.sock',
    user: 'www-data',
    account,
    failure: new AgentError('DENIED', 'no'),
  };
  const remedy = (...places: Place[]): string => {
    const check = socketCheck({ ...facts, places });
    assert.ok(check.verdict === 'problem');
    return check.remedy;
  };
  assert.match(remedy(place(0o750, { gid: 99 })), /^usermod -aG keyagent www-data, then restart/);
  assert.match(remedy(place(0o755), place(0o660, { gid: 99, needs: 2 })), /^usermod -aG keyagent www-data/);
  assert.match(
    remedy(place(0o750, { group: 'root' })),
    /^set socket_group in \[agent\].*chmod o\+x \/run\/keyagent$/,
  );
  assert.match(remedy(place(0o700, { gid: 99 })), /^set socket_group/);
  assert.match(remedy(place(0o755)), /getfacl/);
});

test('a socket that clients do not trust is a problem, one that nobody listens on was told before', () => {
  const facts = { socket: '/tmp/x/agent.sock', user: 'www-data', account, places: [] };
  const untrusted = socketCheck({ ...facts, failure: new AgentError('UNTRUSTED', 'belongs to uid 7') });
  assert.equal(untrusted.verdict === 'problem' && untrusted.code, 'UNTRUSTED');
  assert.equal(socketCheck({ ...facts, failure: new AgentError('UNAVAILABLE', '') }).verdict, 'note');
});

test('an agent of another version is a note, no agent a problem', () => {
  const status: Status = { agent: 'keyagent 1.0.0', pid: 1, uptime: 1, revoked: false, tokens: [] };
  assert.equal(agentCheck('/s', status, '1.0.0').verdict, 'ok');
  assert.equal(agentCheck('/s', status, '1.0.1').verdict, 'note');
  assert.equal(agentCheck('/s', new AgentError('UNAVAILABLE', ''), '1.0.0').verdict, 'problem');
});

test('each state of a token has its verdict', () => {
  const states = ['unlocked', 'unlocking', 'locked', 'pin-blocked', 'absent', 'failed'] as const;
  const checks = tokenChecks(states.map((state) => ({ name: state, state })));
  const verdicts = checks.map((check) => (check.verdict === 'problem' ? check.code : check.verdict));
  assert.deepEqual(verdicts, ['ok', 'note', 'LOCKED', 'PIN_BLOCKED', 'TOKEN_ABSENT', 'TOKEN_ERROR']);
});

function access(...rules: Access['rules'][number][]): Access {
  return { uri: 'pkcs11:object=www', rules, earlier: 0, allowed: false, source: '' };
}

test('a key may be used, not used, or used in a certain unit', () => {
  const uri = 'pkcs11:object=www';
  const no = access({ name: 'a', verdict: 'users' });
  const elsewhere = access({ name: 'a', verdict: 'keys' }, { name: 'u', verdict: 'units' });
  const yes = access({ name: 'y', verdict: 'purpose-only', purpose: 'tls-server' });
  assert.equal(useOf(uri, [['rsa-pss-sha256', no]]).signs, 'no');
  assert.deepEqual(useOf(uri, [['rsa-pss-sha256', elsewhere]]), { uri, signs: 'elsewhere', rule: 'u' });
  const use = useOf(uri, [
    ['rsa-pss-sha256', elsewhere],
    ['rsa-pkcs1-sha256', yes],
  ]);
  assert.deepEqual(use, { uri, signs: 'yes', rule: 'y', mechanism: 'rsa-pkcs1', purpose: 'tls-server' });
  const verdicts = [[], [use], [{ uri, signs: 'no' as const }], [{ uri, signs: 'unseen' as const }]].map(
    (uses) => ruleChecks('www-data', uses)[0]?.verdict,
  );
  assert.deepEqual(verdicts, ['note', 'ok', 'problem', 'note']);
  assert.deepEqual(signingAlgorithms('rsa'), ['rsa-pss-sha256', 'rsa-pkcs1-sha256']);
});

test('what is signed on trial fits the purpose of the rule', () => {
  for (const mechanism of ['rsa-pss', 'rsa-pkcs1', 'ecdsa', 'ed25519'] as const) {
    const message = tlsMessage({ uri: '', signs: 'yes', mechanism, purpose: 'tls-server' });
    assert.ok(messageServes('tls-server', mechanism, message), mechanism);
  }
  const message = tlsMessage({ uri: '', signs: 'yes', mechanism: 'ecdsa', purpose: 'tls-client' });
  assert.ok(messageServes('tls-client', 'ecdsa', message));
});

const conf = `# comment
openssl_conf = openssl_init   # the entry
[ openssl_init ]
providers = provider_sect
[provider_sect]
default = default_sect
keyagent = keyagent_sect
[keyagent_sect]
module = "/a b/keyagent.so"
socket = \\
  /run/keyagent/agent.sock
`;

test('the providers of an OpenSSL configuration are found through its sections', () => {
  const { providers } = providerSections(conf);
  assert.deepEqual([...providers.keys()], ['default', 'keyagent']);
  assert.deepEqual(Object.fromEntries(providers.get('keyagent') ?? []), {
    module: '/a b/keyagent.so',
    socket: '/run/keyagent/agent.sock',
  });
  assert.equal(providerSections(conf.replace('openssl_conf', 'nodejs_conf')).providers.size, 0);
  assert.equal(providerSections('').providers.size, 0);
});

function opensslFacts(changes: Partial<OpensslFacts>): OpensslFacts {
  return {
    user: 'www-data',
    file: '/etc/keyagent/openssl.cnf',
    named: true,
    sections: providerSections(conf),
    unreadable: undefined,
    active: new Map([
      ['default', '3.0.19'],
      ['keyagent', '1.0.0'],
    ]),
    module: '/a b/keyagent.so',
    loadError: undefined,
    version: '1.0.0',
    sockets: ['/run/keyagent/agent.sock'],
    socketVariable: undefined,
    ...changes,
  };
}

test('a provider of another version, and a socket elsewhere, are told', () => {
  const verdicts = (changes: Partial<OpensslFacts>): string =>
    opensslChecks(opensslFacts(changes))
      .map(({ verdict }) => verdict)
      .join(' ');
  assert.equal(verdicts({}), 'ok ok ok ok');
  assert.equal(verdicts({ named: false }), 'note ok ok ok');
  assert.equal(verdicts({ version: '1.0.1' }), 'ok problem ok ok');
  assert.equal(verdicts({ sockets: ['/run/other.sock'] }), 'ok ok ok problem');
  assert.equal(verdicts({ sockets: ['/var/lib/haproxy/run/keyagent/agent.sock'] }), 'ok ok ok note');
  assert.equal(verdicts({ socketVariable: '/run/other.sock' }), 'ok ok ok problem');
  assert.equal(verdicts({ sections: undefined, unreadable: 'ENOENT' }), 'problem');
});

test('only variables that OpenSSL and the provider read are taken from --env', () => {
  assert.deepEqual(serverEnvironment(['OPENSSL_CONF=/a=b']), { OPENSSL_CONF: '/a=b' });
  for (const text of ['LD_PRELOAD=/x', 'OPENSSL_CONF', 'OPENSSL_CONF='])
    assert.throws(() => serverEnvironment([text]), { code: 'INVALID' });
});
