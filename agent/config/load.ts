/**
 * Reads the configuration: file -> TOML -> checked tables -> Config.
 * Everything that can be wrong ends in one AgentError CONFIGURATION with the file, the line and the key.
 */
import path from 'node:path';
import { AgentError } from '@keyagent/protocol';
import type { z } from 'zod';
import { refuseUnsafeFile } from '../unsafe-file.js';
import { ConfigText, readConfigSource, type ConfigSource } from './config-text.js';
import type { Config, SocketConfig } from './config.js';
import { fileSchema, knownKeys, type ConfigFile } from './file-schema.js';
import type { KeyPath } from './key-lines.js';
import { auditFile, runtimeDir, stateDir, surroundings, variable, type Surroundings } from './locations.js';
import { resolveGroup, resolveRule } from './resolve-rule.js';
import { resolveCardReader, resolveToken } from './resolve-token.js';

/**
 * @param file as configFile() found it
 * @throws AgentError CONFIGURATION
 */
export function loadConfig(file: string, around: Surroundings = surroundings()): Config {
  return parseConfig(readConfig(file, around), around);
}

/** What became of a file: its configuration, or the CONFIGURATION error's message. A value that may go to another thread. */
export type Loaded = { readonly hash: ConfigSource['hash'] | undefined } & (
  { readonly config: Config } | { readonly refusal: string }
);

export function tryLoad(file: string, around: Surroundings = surroundings()): Loaded {
  let hash: ConfigSource['hash'] | undefined;
  try {
    const source = readConfig(file, around);
    hash = source.hash;
    return { hash, config: parseConfig(source, around) };
  } catch (error) {
    if (!(error instanceof AgentError) || error.code !== 'CONFIGURATION') throw error;
    return { hash, refusal: error.message };
  }
}

/** @throws AgentError CONFIGURATION: the file cannot be read, or others could write to it */
function readConfig(file: string, around: Surroundings = surroundings()): ConfigSource {
  refuseUnsafeFile(file, around.euid);
  return readConfigSource(file);
}

/** @throws AgentError CONFIGURATION, with the line */
function parseConfig(source: ConfigSource, around: Surroundings = surroundings()): Config {
  const { file, hash } = source;
  const text = new ConfigText(source);
  const checked = checkTables(text);
  const sockets = resolveSockets(text, checked.agent, around);
  const { euid } = around;
  const places = { stateDir: checked.agent.state_dir ?? stateDir(around), euid };
  return {
    file,
    hash,
    ...sockets,
    stateDir: places.stateDir,
    holdMs: checked.agent.hold_ms,
    requestTimeoutMs: checked.agent.request_timeout_ms,
    tokens: checked.token.map((token, index, all) => resolveToken(text, token, index, all, places)),
    cardReaders: checked.card_reader.map((reader, index, all) =>
      resolveCardReader(text, reader, index, all, euid),
    ),
    rules: checked.rule.map((rule, index) => resolveRule(text, rule, index)),
    auditFile: checked.audit.file ?? auditFile(around),
    auditOnError: checked.audit.on_error,
    auditJournald: checked.audit.journald,
  };
}

function checkTables(text: ConfigText): ConfigFile {
  const result = fileSchema.safeParse(text.document);
  if (result.success) return result.data;
  const [first] = result.error.issues
    .map((issue) => ({ issue, path: placeOf(issue) }))
    .sort((a, b) => text.lineOf(a.path) - text.lineOf(b.path));
  if (!first) throw result.error;
  return text.fail(first.path, adviceOf(first.issue, first.path, text), result.error);
}

function placeOf(issue: z.core.$ZodIssue): KeyPath {
  const table = issue.path.filter((key) => typeof key !== 'symbol');
  return issue.code === 'unrecognized_keys' ? [...table, issue.keys[0] ?? ''] : table;
}

function adviceOf(issue: z.core.$ZodIssue, at: KeyPath, text: ConfigText): string {
  if (issue.code === 'unrecognized_keys') return adviceOnUnknownKey(at);
  if (issue.code === 'invalid_key') return issue.issues[0]?.message ?? issue.message;
  const isMissing = text.valueAt(at) === undefined;
  if (isMissing && at.length === 1 && at[0] === 'token')
    return 'is missing; add a [[token]] with name, module and uri';
  return isMissing ? `is missing; it ${issue.message}` : issue.message;
}

function adviceOnUnknownKey(at: KeyPath): string {
  const table = at.findLast((key, index) => index < at.length - 1 && typeof key === 'string') ?? '';
  return `unknown key; known here: ${(knownKeys[table] ?? []).join(', ')}`;
}

function resolveSockets(
  text: ConfigText,
  agent: ConfigFile['agent'],
  around: Surroundings,
): Pick<Config, 'sockets' | 'controlSocket'> {
  const clientPath =
    variable(around, 'KEYAGENT_SOCK') ?? agent.socket ?? path.join(runtimeDir(around), 'agent.sock');
  const controlPath =
    variable(around, 'KEYAGENT_CONTROL_SOCK') ??
    agent.control_socket ??
    path.join(path.dirname(clientPath), 'control.sock');
  const group = (at: KeyPath, name: string | number | undefined): number | undefined =>
    name === undefined ? undefined : resolveGroup(text, at, name);

  const client: SocketConfig = {
    path: path.resolve(clientPath),
    mode: Number.parseInt(agent.socket_mode ?? '0660', 8),
    gid: group(['agent', 'socket_group'], agent.socket_group),
  };
  const more = (agent.sockets ?? []).map((socket, index): SocketConfig => ({
    path: path.resolve(socket.path),
    mode: Number.parseInt(socket.mode ?? '0660', 8),
    gid: group(['agent', 'sockets', index, 'group'], socket.group),
  }));
  const controlSocket: SocketConfig = {
    path: path.resolve(controlPath),
    mode: Number.parseInt(agent.control_mode ?? '0600', 8),
    gid: group(['agent', 'control_group'], agent.control_group),
  };
  refuseSamePath(text, [client, ...more, controlSocket]);
  return { sockets: [client, ...more], controlSocket };
}

function refuseSamePath(text: ConfigText, sockets: readonly SocketConfig[]): void {
  const seen = new Set<string>();
  for (const { path: each } of sockets) {
    if (seen.has(each)) text.fail(['agent'], `two sockets have the path ${each}; give each its own`);
    seen.add(each);
  }
}
