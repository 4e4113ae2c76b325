import assert from 'node:assert/strict';
import { createHash } from 'node:crypto';
import { chmodSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { after, describe, it } from 'node:test';
import { loadConfig } from '@keyagent/agent/config/load.js';
import type { Config } from '@keyagent/agent/config/config.js';
import type { Surroundings } from '@keyagent/agent/config/locations.js';
import { AgentError } from '@keyagent/protocol';

const directory = mkdtempSync(path.join(tmpdir(), 'keyagent-config-'));
const file = path.join(directory, 'keyagent.toml');
const euid = process.geteuid?.() ?? 0;
/** A service of the system, whoever runs the tests. */
const asService: Surroundings = { env: { INVOCATION_ID: '0' }, euid };

const token = `[[token]]
name = "web"
module = "/usr/lib/softhsm/libsofthsm2.so"
uri = "pkcs11:token=web"
`;
const reader = `[[card_reader]]
name = "desk"
module = "/usr/lib/opensc-pkcs11.so"
`;
const rule = `[[rule]]
keys = "pkcs11:object=www*"
users = ["root"]
`;

function load(text: string, around = asService): Config {
  writeFileSync(file, text);
  return loadConfig(file, around);
}

/** @returns the message behind "FILE:" */
function complaint(text: string, around = asService): string {
  try {
    load(text, around);
  } catch (error) {
    assert.ok(error instanceof AgentError, String(error));
    assert.equal(error.code, 'CONFIGURATION');
    assert.ok(error.message.startsWith(`${file}:`), error.message);
    assert.ok(!error.message.includes('\n'), 'one line');
    return error.message.slice(file.length + 1);
  }
  return assert.fail('it was accepted');
}

describe('loadConfig', () => {
  after(() => rmSync(directory, { recursive: true }));

  it('refuses a module that others could change, with its line', () => {
    const module = path.join(directory, 'module.so');
    writeFileSync(module, '');
    chmodSync(module, 0o755);
    const [ofToken, ofReader] = [token.replace(/\/usr.*so/, module), reader.replace(/\/usr.*so/, module)];
    assert.equal(load(ofToken + ofReader).tokens[0]?.module, module);
    chmodSync(module, 0o775);
    assert.match(complaint(ofToken), /^3: token\.web\.module: \S+module\.so: mode 0775 lets others/);
    assert.match(complaint(token + ofReader), /^7: card_reader\.desk\.module: \S+module\.so: mode 0775/);
    rmSync(module);
  });

  it('takes every token of a card reader for a card unless its URI says otherwise', () => {
    const module = '/usr/lib/opensc-pkcs11.so';
    assert.deepEqual(load(token + reader).cardReaders, [{ name: 'desk', module, uri: 'pkcs11:', env: {} }]);
    assert.deepEqual(load(token).cardReaders, []);
  });

  it('reads every key', () => {
    const config = load(`
[agent]
socket = "/run/keyagent/agent.sock"
socket_mode = "0666"
socket_group = "root"
control_socket = "/run/keyagent/operators.sock"
control_mode = "0660"
control_group = 7
sockets = [{ path = "/var/lib/haproxy/keyagent.sock", mode = "0640", group = "root" }, { path = "/srv/a.sock" }]
state_dir = "/srv/state"
hold_ms = 0
request_timeout_ms = 500

[[token]]
name = "web-1"
module = "/usr/lib/softhsm/libsofthsm2.so"
uri = "pkcs11:token=web;serial=12"
unlock = ["credential", "clevis", "keyring", "card", "prompt"]
sessions = 4
hosts = 2
env = { SOFTHSM2_CONF = "/etc/softhsm2.conf" }
on_removal = "lock"
retain_pin = false
lock_after = "12h"
lock_idle = "30m"
rescan_ms = 5000
keyring_service = "pins"
keyring_account = "www"
credential = "web.pin"
clevis = "/etc/keyagent/web.pin.jwe"

[[rule]]
name = "apache"
keys = "pkcs11:object=www*"
users = ["root", 33]
groups = ["root", 44]
operations = ["sign"]
mechanisms = ["rsa-pss", "ecdsa"]
pss_salt_length = 20
hold_max = 0

[[rule]]
name = "by what runs"
keys = "pkcs11:"
units = ["apache2.service", "postgresql@15-main.service"]
exe = ["/usr/sbin/apache2"]
purpose = "tls-server"
rate = "2000/s"

[[card_reader]]
name = "safe"
module = "/usr/lib/acme.so"
uri = "pkcs11:model=ACME"
env = { ACME = "1" }

[audit]
file = "/srv/audit.jsonl"
on_error = "count"
journald = true
`);
    const { tokens, rules, hash, ...rest } = config;
    assert.equal(hash, `sha256:${createHash('sha256').update(readFileSync(file)).digest('hex')}`);
    assert.deepEqual(rest, {
      file,
      sockets: [
        { path: '/run/keyagent/agent.sock', mode: 0o666, gid: 0 },
        { path: '/var/lib/haproxy/keyagent.sock', mode: 0o640, gid: 0 },
        { path: '/srv/a.sock', mode: 0o660, gid: undefined },
      ],
      controlSocket: { path: '/run/keyagent/operators.sock', mode: 0o660, gid: 7 },
      stateDir: '/srv/state',
      holdMs: 0,
      requestTimeoutMs: 500,
      cardReaders: [
        { name: 'safe', module: '/usr/lib/acme.so', uri: 'pkcs11:model=ACME', env: { ACME: '1' } },
      ],
      auditFile: '/srv/audit.jsonl',
      auditOnError: 'count',
      auditJournald: true,
    });
    assert.equal(tokens[0]?.uri.text, 'pkcs11:token=web;serial=12');
    assert.deepEqual(
      { ...tokens[0], uri: undefined },
      {
        name: 'web-1',
        module: '/usr/lib/softhsm/libsofthsm2.so',
        uri: undefined,
        unlock: ['credential', 'clevis', 'keyring', 'card', 'prompt'],
        sessions: 4,
        hosts: 2,
        env: { SOFTHSM2_CONF: '/etc/softhsm2.conf' },
        onRemoval: 'lock',
        retainPin: false,
        lockAfterMs: 43_200_000,
        lockIdleMs: 1_800_000,
        rescanMs: 5000,
        keyringService: 'pins',
        keyringAccount: 'www',
        credential: 'web.pin',
        clevisFile: '/etc/keyagent/web.pin.jwe',
      },
    );
    assert.equal(rules[0]?.keys.prefixes.has('object'), true);
    assert.deepEqual(
      { ...rules[0], keys: undefined },
      {
        name: 'apache',
        keys: undefined,
        uids: [0, 33],
        gids: [0, 44],
        units: undefined,
        exes: undefined,
        operations: ['sign'],
        mechanisms: ['rsa-pss', 'ecdsa'],
        purpose: undefined,
        rate: undefined,
        holdMax: 0,
        pssSaltLength: 20,
      },
    );
    const { units, exes, purpose, rate } = rules[1] ?? assert.fail('there are two rules');
    assert.deepEqual(
      { units, exes, purpose, rate },
      {
        units: ['apache2.service', 'postgresql@15-main.service'],
        exes: ['/usr/sbin/apache2'],
        purpose: 'tls-server',
        rate: { count: 2000, perMs: 1000 },
      },
    );
  });

  it('needs no more than one token, and then denies everybody', () => {
    const config = load(token);
    assert.deepEqual(config.sockets, [{ path: '/run/keyagent/agent.sock', mode: 0o660, gid: undefined }]);
    assert.deepEqual(config.controlSocket, {
      path: '/run/keyagent/control.sock',
      mode: 0o600,
      gid: undefined,
    });
    assert.deepEqual(config.rules, []);
    const [only] = config.tokens;
    assert.deepEqual(
      [
        only?.sessions,
        only?.hosts,
        only?.onRemoval,
        only?.retainPin,
        only?.lockAfterMs,
        only?.credential,
        only?.unlock,
      ],
      [8, 1, 'drain', true, undefined, 'keyagent.web.pin', ['credential', 'prompt']],
    );
    assert.deepEqual(
      [config.holdMs, config.requestTimeoutMs, config.stateDir, config.auditFile, config.auditOnError],
      [10_000, 10_000, '/var/lib/keyagent', '/var/log/keyagent/audit.jsonl', 'deny'],
    );
  });

  it('counts rules without a name', () => {
    assert.deepEqual(
      load(token + rule + rule).rules.map(({ name }) => name),
      ['rule 1', 'rule 2'],
    );
  });

  it('puts the control socket beside the client socket', () => {
    assert.equal(
      load(`[agent]\nsocket = "/srv/k/a.sock"\n${token}`).controlSocket.path,
      '/srv/k/control.sock',
    );
  });

  it('lets the environment name the sockets', () => {
    const env = { KEYAGENT_SOCK: '/tmp/x/a.sock', KEYAGENT_CONTROL_SOCK: '/tmp/y/c.sock' };
    const config = load(`[agent]\nsocket = "/srv/a.sock"\n${token}`, { env, euid });
    assert.equal(config.sockets[0]?.path, '/tmp/x/a.sock');
    assert.equal(config.controlSocket.path, '/tmp/y/c.sock');
  });

  const refused: [name: string, text: string, message: RegExp | string][] = [
    ['no token', '[agent]\nhold_ms = 1\n', '1: token: is missing; add a [[token]] with name, module and uri'],
    ['an empty file', '', '1: token: is missing; add a [[token]] with name, module and uri'],
    ['an empty list of tokens', 'token = []\n', /^1: token: is missing; add one/],
    [
      'a single table instead of an array',
      token.replace('[[token]]', '[token]'),
      /^1: token: must be an array of tables: write \[\[token\]\]/,
    ],
    ['a syntax error', `${token}sessions = = 3\n`, /^5: Invalid TOML document: /],
    ['a key that is there twice', `${token}name = "web"\n`, /^[1-5]: Invalid TOML document: /],
    [
      'an unknown table',
      `${token}[agents]\n`,
      /^5: agents: unknown key; known here: agent, token, card_reader, rule, audit$/,
    ],
    [
      'an unknown key',
      `${token}session = 3\n`,
      /^5: token\.web\.session: unknown key; known here: name, module, uri, /,
    ],
    [
      'an unknown key of the second token',
      `${token}${token.replace('"web"', '"db"')}\n\npin = "1234"\n`,
      /^11: token\.db\.pin: unknown key/,
    ],
    [
      'an unknown key of a socket',
      `[agent]\nsockets = [{ path = "/a", user = "x" }]\n${token}`,
      /^2: agent\.sockets\[1\]\.user: unknown key; known here: path, mode, group$/,
    ],
    [
      'a wrong type',
      `${token}sessions = "8"\n`,
      '5: token.web.sessions: must be a whole number from 1 to 256',
    ],
    [
      'a number with a fraction',
      `${token}sessions = 1.5\n`,
      '5: token.web.sessions: must be a whole number from 1 to 256',
    ],
    [
      'a number out of range',
      `${token}hosts = 0\n`,
      '5: token.web.hosts: must be a whole number from 1 to 16',
    ],
    [
      'a missing key',
      token.replace(/uri.*\n/, ''),
      /^1: token\.web\.uri: is missing; it must be a PKCS#11 URI/,
    ],
    [
      'a token without a name',
      token.replace(/name.*\n/, ''),
      '1: token[1].name: is missing; it must be 1 to 32 of a-z, 0-9, _ and -',
    ],
    [
      'a bad token name',
      token.replace('"web"', '"Web Server"'),
      '2: token[1].name: must be 1 to 32 of a-z, 0-9, _ and -',
    ],
    [
      'two tokens of one name',
      token + token,
      '6: token.web.name: token 1 has this name already; choose another',
    ],
    [
      'one token under two names',
      token + token.replace('name = "web"', 'name = "backup"'),
      '8: token.backup.uri: web names this token already; remove one of them',
    ],
    ['a relative module', token.replace('/usr', 'usr'), '3: token.web.module: must be an absolute path'],
    [
      'a URI that does not parse',
      token.replace('token=web', 'token=w b'),
      /^4: token\.web\.uri: URI: "token": character 2/,
    ],
    [
      'a URI of a key',
      token.replace('token=web', 'token=web;object=x'),
      /^4: token\.web\.uri: names a token, so it cannot have object=/,
    ],
    [
      'a PIN in a URI',
      token.replace('token=web', 'token=web?pin-value=1234'),
      /^4: token\.web\.uri: URI: "pin-value"/,
    ],
    [
      'an unknown source',
      `${token}unlock = ["prompt", "post-it"]\n`,
      /^5: token\.web\.unlock\[2\]: must be one of "credential", "clevis"/,
    ],
    [
      'a source that is there twice',
      `${token}unlock = ["prompt", "prompt"]\n`,
      /^5: token\.web\.unlock: names something twice/,
    ],
    [
      'a bad duration',
      `${token}lock_after = "12 hours"\n`,
      /^5: token\.web\.lock_after: must be a duration such as/,
    ],
    [
      'a duration that no timer holds',
      `${token}lock_after = "25d"\n`,
      /^5: token\.web\.lock_after: must be a duration .*, at most 24 days/,
    ],
    [
      'a credential that is a path',
      `${token}credential = "../x"\n`,
      /^5: token\.web\.credential: must be the name of a credential/,
    ],
    [
      'an environment variable that keyagent sets',
      `${token}env = { NODE_OPTIONS = "--inspect" }\n`,
      /^5: token\.web\.env\.NODE_OPTIONS: is set by keyagent itself/,
    ],
    [
      'a number as environment variable',
      `${token}[token.env]\nA = 1\n`,
      '6: token.web.env.A: must be a string',
    ],
    [
      'a mode without quotes',
      `[agent]\nsocket_mode = 660\n${token}`,
      /^2: agent\.socket_mode: must be permission bits in octal, as a string/,
    ],
    [
      'a mode that is not octal',
      `[agent]\nsocket_mode = "0680"\n${token}`,
      /^2: agent\.socket_mode: must be permission bits/,
    ],
    [
      'a control socket for everybody',
      `[agent]\ncontrol_mode = "0666"\n${token}`,
      /^2: agent\.control_mode: must give no rights to others/,
    ],
    [
      'a path that is too long for a socket',
      `[agent]\nsocket = "/${'x'.repeat(103)}"\n${token}`,
      /^2: agent\.socket: must be at most 103 bytes/,
    ],
    [
      'one path for two sockets',
      `[agent]\nsocket = "/a"\nsockets = [{ path = "/a" }]\n${token}`,
      /^1: agent: two sockets have the path \/a/,
    ],
    [
      'a rule for nobody',
      `${token}[[rule]]\nname = "r"\nkeys = "pkcs11:"\n`,
      /^5: rule\.r: says nobody; add users/,
    ],
    [
      'a rule with an empty list',
      `${token}${rule}groups = []\n`,
      /^8: rule\[1\]\.groups: must be a list of groups; leave the key out/,
    ],
    [
      'an unknown user',
      `${token}${rule.replace('root', 'no-such-user')}`,
      /^7: rule\[1\]\.users: there is no user "no-such-user" on this system/,
    ],
    [
      'a user that is a number in quotes',
      `${token}${rule.replace('root', '0')}`,
      /^7: rule\[1\]\.users: there is no user "0"/,
    ],
    [
      'a name that looks like an option',
      `${token}${rule.replace('root', '--help')}`,
      /^7: rule\[1\]\.users: there is no user "--help"/,
    ],
    [
      'an unknown group',
      `${token}${rule}groups = ["no-such-group"]\n`,
      /^8: rule\[1\]\.groups: there is no group "no-such-group"/,
    ],
    [
      'an unknown socket group',
      `[agent]\nsocket_group = "no-such-group"\n${token}`,
      /^2: agent\.socket_group: there is no group/,
    ],
    [
      'a rule for everybody whom the kernel cannot name',
      `${token}${rule.replace('"root"', '"nobody"')}`,
      /^7: rule\[1\]\.users: user 65534 stands for everybody without an id here; use a user of its own/,
    ],
    [
      'the same of a group',
      `${token}${rule}groups = ["nogroup"]\n`,
      /^8: rule\[1\]\.groups: group 65534 stands for everybody/,
    ],
    [
      'a unit that is no service',
      `${token}${rule}units = ["apache2"]\n`,
      /^8: rule\[1\]\.units\[1\]: must be the name of a service of the system manager/,
    ],
    [
      "a user's manager as a unit",
      `${token}${rule}units = ["user@5.service"]\n`,
      /^8: rule\[1\]\.units\[1\]: holds whatever its user starts/,
    ],
    [
      'an executable without a path',
      `${token}${rule}exe = ["apache2"]\n`,
      /^8: rule\[1\]\.exe\[1\]: must be an absolute path/,
    ],
    [
      'an unknown purpose',
      `${token}${rule}purpose = "tls"\n`,
      /^8: rule\[1\]\.purpose: must be one of "tls-server", "tls-client"/,
    ],
    [
      'a rate of nothing',
      `${token}${rule}rate = "0/s"\n`,
      /^8: rule\[1\]\.rate: must be a rate such as "2000\/s"/,
    ],
    [
      'a purpose that nothing of the rule serves',
      `${token}${rule}mechanisms = ["rsa-pkcs1"]\npurpose = "tls-client"\n`,
      /^9: rule\[1\]\.purpose: TLS does not use what the rule allows; the rule would never match/,
    ],
    [
      'decrypting for TLS without naming how',
      `${token}${rule}operations = ["decrypt"]\npurpose = "tls-server"\n`,
      /^9: rule\[1\]\.purpose: decrypting for TLS needs mechanisms = \["rsa-pkcs1-tls"\]/,
    ],
    [
      'a salt that TLS does not have',
      `${token}${rule}purpose = "tls-server"\npss_salt_length = 0\n`,
      /^9: rule\[1\]\.pss_salt_length: TLS fixes the salt; remove it/,
    ],
    [
      'a name that is too long to show',
      `${token}${rule}name = "${'x'.repeat(65)}"\n`,
      /^8: rule\.x+\.name: must have at most 64 characters/,
    ],
    [
      'an unknown mechanism',
      `${token}${rule}mechanisms = ["rsa"]\n`,
      /^8: rule\[1\]\.mechanisms\[1\]: must be one of "rsa-pkcs1"/,
    ],
    [
      'mechanisms of another operation',
      `${token}${rule}operations = ["sign"]\nmechanisms = ["rsa-oaep"]\n`,
      /^9: rule\[1\]\.mechanisms: none of them can sign/,
    ],
    [
      'a pattern with a star inside',
      `${token}${rule.replace('www*', 'w*w')}`,
      /^6: rule\[1\]\.keys: URI: "object": "\*" belongs at the end/,
    ],
    [
      'a card reader without a module',
      `${token}[[card_reader]]\nname = "desk"\n`,
      /^5: card_reader\.desk\.module: is missing; it must be an absolute path/,
    ],
    [
      'two card readers of one name',
      `${token}${reader}${reader}`,
      /^9: card_reader\.desk\.name: card_reader 1 has this name already; choose another/,
    ],
    [
      'a card reader whose URI names a key',
      `${token}${reader}uri = "pkcs11:object=card"\n`,
      /^8: card_reader\.desk\.uri: names a token, so it cannot have object=/,
    ],
    [
      'an unknown key of a card reader',
      `${token}${reader}pin = "1234"\n`,
      /^8: card_reader\.desk\.pin: unknown key; known here: name, module, uri, env$/,
    ],
    [
      'a bad audit policy',
      `${token}[audit]\non_error = "ignore"\n`,
      '6: audit.on_error: must be one of "deny", "count"',
    ],
  ];
  for (const [name, text, message] of refused) {
    it(`refuses ${name}`, () => {
      const said = complaint(text);
      if (typeof message === 'string') assert.equal(said, message);
      else assert.match(said, message);
    });
  }

  it('says what comes first when several things are wrong', () => {
    assert.match(complaint(`${token}sessions = 0\nhosts = 0\n${rule}oops = 1\n`), /^5: /);
  });

  it('says that a file is missing', () => {
    assert.throws(() => loadConfig(path.join(directory, 'missing.toml'), asService), {
      code: 'CONFIGURATION',
      message: /missing\.toml: no such file; write one, or name another with --config/,
    });
  });

  it('refuses a file that others may write', () => {
    writeFileSync(file, token);
    for (const mode of [0o620, 0o602, 0o666]) {
      chmodSync(file, mode);
      assert.throws(() => loadConfig(file, asService), {
        code: 'CONFIGURATION',
        message: /lets others write to it/,
      });
    }
    chmodSync(file, 0o644);
    assert.equal(loadConfig(file, asService).tokens.length, 1);
  });
});
