/** What a reload does with each key of the configuration file: a table that has them all. */
import assert from 'node:assert/strict';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { after, test } from 'node:test';
import { changesOf } from '@keyagent/agent/config/changes.js';
import type { Config } from '@keyagent/agent/config/config.js';
import { knownKeys } from '@keyagent/agent/config/file-schema.js';
import { loadConfig } from '@keyagent/agent/config/load.js';
import { AgentError } from '@keyagent/protocol';

const directory = mkdtempSync(path.join(tmpdir(), 'keyagent-changes-'));
after(() => rmSync(directory, { recursive: true }));
const file = path.join(directory, 'keyagent.toml');

const modules = '/usr/lib/softhsm/libsofthsm2.so';
/** Each table with what it must have and one line of the test's. */
const tables: Record<string, (line: string) => string> = {
  agent: (line) => `[agent]\n${line}\n${tables['token']?.('')}`,
  sockets: (line) => {
    const fields = withDefaults(line, { path: '/run/a/s' }).trimEnd().replaceAll('\n', ', ');
    return tables['agent']?.(`sockets = [{ ${fields} }]`) ?? '';
  },
  token: (line) =>
    `[[token]]\n${withDefaults(line, { name: 'web', module: modules, uri: 'pkcs11:token=web' })}`,
  card_reader: (line) =>
    `${tables['token']?.('')}[[card_reader]]\n${withDefaults(line, { name: 'desk', module: modules })}`,
  rule: (line) =>
    `${tables['token']?.('')}[[rule]]\n${withDefaults(line, { keys: 'pkcs11:', users: ['root'] })}`,
  audit: (line) => `${tables['token']?.('')}[audit]\n${line}\n`,
};

/** The lines of a table, in which the given one stands for its key. */
function withDefaults(line: string, defaults: Record<string, unknown>): string {
  const others = Object.entries(defaults).filter(([key]) => !line.startsWith(`${key} =`));
  return [line, ...others.map(([key, value]) => `${key} = ${JSON.stringify(value)}`), ''].join('\n');
}

/** Key by key: two values of it, and what a reload from one to the other does. */
type Row = readonly [before: string, after: string, what: string];
const token = (what: string): string => `${what} web`;
const rows: Record<string, Row> = {
  'agent.socket': ['"/run/a/1"', '"/run/a/2"', 'restart: agent.socket'],
  'agent.socket_mode': ['"0660"', '"0666"', 'restart: agent.socket_mode'],
  'agent.socket_group': ['0', '1', 'restart: agent.socket_group'],
  'agent.control_socket': ['"/run/a/1"', '"/run/a/2"', 'restart: agent.control_socket'],
  'agent.control_mode': ['"0600"', '"0660"', 'restart: agent.control_mode'],
  'agent.control_group': ['0', '1', 'restart: agent.control_group'],
  'agent.sockets': ['[]', '[{ path = "/run/a/s" }]', 'restart: agent.sockets'],
  'agent.state_dir': ['"/var/lib/1"', '"/var/lib/2"', 'restart: agent.state_dir'],
  'agent.hold_ms': ['1', '2', 'settings agent.hold_ms'],
  'agent.request_timeout_ms': ['1', '2', 'settings agent.request_timeout_ms'],
  'sockets.path': ['"/run/a/1"', '"/run/a/2"', 'restart: agent.sockets'],
  'sockets.mode': ['"0660"', '"0666"', 'restart: agent.sockets'],
  'sockets.group': ['0', '1', 'restart: agent.sockets'],
  'token.name': ['"web"', '"mail"', 'added mail, removed web'],
  'token.module': [`"${modules}"`, '"/usr/lib/other.so"', token('replaced')],
  'token.uri': ['"pkcs11:token=a"', '"pkcs11:token=b"', token('replaced')],
  'token.sessions': ['1', '2', token('replaced')],
  'token.hosts': ['1', '2', token('replaced')],
  'token.env': ['{ A = "1" }', '{ A = "2" }', token('replaced')],
  'token.unlock': ['["prompt"]', '["credential"]', token('changed')],
  'token.on_removal': ['"hold"', '"lock"', token('changed')],
  'token.retain_pin': ['true', 'false', token('changed')],
  'token.lock_after': ['"1h"', '"2h"', token('changed')],
  'token.lock_idle': ['"1h"', '"2h"', token('changed')],
  'token.rescan_ms': ['1000', '2000', token('changed')],
  'token.keyring_service': ['"a"', '"b"', token('changed')],
  'token.keyring_account': ['"a"', '"b"', token('changed')],
  'token.clevis': ['"/a"', '"/b"', token('changed')],
  'token.credential': ['"a"', '"b"', token('changed')],
  'card_reader.name': ['"desk"', '"door"', 'settings card_reader.desk card_reader.door'],
  'card_reader.module': [`"${modules}"`, '"/usr/lib/other.so"', 'settings card_reader.desk'],
  'card_reader.uri': ['"pkcs11:"', '"pkcs11:manufacturer=A"', 'settings card_reader.desk'],
  'card_reader.env': ['{ A = "1" }', '{ A = "2" }', 'settings card_reader.desk'],
  'rule.name': ['"a"', '"b"', 'rules'],
  'rule.keys': ['"pkcs11:object=a"', '"pkcs11:object=b"', 'rules'],
  'rule.users': ['[0]', '[1]', 'rules'],
  'rule.groups': ['[0]', '[1]', 'rules'],
  'rule.units': ['["a.service"]', '["b.service"]', 'rules'],
  'rule.exe': ['["/bin/sh"]', '["/bin/ls"]', 'rules'],
  'rule.operations': ['["sign"]', '["decrypt"]', 'rules'],
  'rule.mechanisms': ['["rsa-pss"]', '["ecdsa"]', 'rules'],
  'rule.purpose': ['"tls-server"', '"tls-client"', 'rules'],
  'rule.rate': ['"1/s"', '"2/s"', 'rules'],
  'rule.hold_max': ['0', '1', 'rules'],
  'rule.pss_salt_length': ['1', '2', 'rules'],
  'audit.file': ['"/var/log/1"', '"/var/log/2"', 'restart: audit.file'],
  'audit.on_error': ['"deny"', '"count"', 'settings audit.on_error'],
  'audit.journald': ['true', 'false', 'settings audit.journald'],
};

test('the table has every key of the configuration file', () => {
  const keys = Object.entries(knownKeys).flatMap(([table, names]) =>
    table === '' ? [] : names.map((name) => `${table}.${name}`),
  );
  assert.deepEqual(Object.keys(rows).sort(), keys.sort());
});

for (const [key, [one, other, what]] of Object.entries(rows)) {
  test(`${key}: ${what}`, () => {
    const [now, next] = [configWith(key, one), configWith(key, other)];
    assert.equal(reloaded(now, next), what);
    assert.equal(reloaded(now, configWith(key, one)), 'nothing');
  });
}

function configWith(key: string, value: string): Config {
  const [table = '', name] = key.split('.');
  writeFileSync(file, tables[table]?.(`${name} = ${value}`) ?? '', { mode: 0o644 });
  return loadConfig(file, { env: { INVOCATION_ID: '0' }, euid: process.geteuid?.() ?? 0 });
}

/** What the agent makes of a reload. */
function reloaded(now: Config, next: Config): string {
  try {
    const { rules, ...tokens } = changesOf(now, next);
    const lists = Object.entries(tokens);
    const told = lists.flatMap(([how, names]) => (names.length === 0 ? [] : [`${how} ${names.join(' ')}`]));
    if (rules) told.push('rules');
    return told.join(', ') || 'nothing';
  } catch (error) {
    assert.ok(error instanceof AgentError);
    assert.equal(error.code, 'CONFIGURATION');
    return `restart: ${/: (.+) cannot be reloaded, so nothing is changed/.exec(error.message)?.[1] ?? error.message}`;
  }
}

test('every key that needs a restart is named, and nothing else is taken over', () => {
  writeFileSync(file, `[agent]\nhold_ms = 1\n${tables['token']?.('')}`, { mode: 0o644 });
  const around = { env: { INVOCATION_ID: '0' }, euid: process.geteuid?.() ?? 0 };
  const now = loadConfig(file, around);
  const changed = `[agent]\nhold_ms = 2\nsocket_mode = "0600"\nstate_dir = "/var/lib/2"\n${tables['token']?.('')}`;
  writeFileSync(file, `${changed}[audit]\nfile = "/var/log/2"\n`, { mode: 0o644 });
  assert.equal(
    reloaded(now, loadConfig(file, around)),
    'restart: agent.socket_mode, agent.state_dir, audit.file',
  );
});
