/** What differs between the configuration that holds and the one that is to hold, and whether an agent that runs can take it over. */
import { isDeepStrictEqual } from 'node:util';
import { AgentError } from '@keyagent/protocol';
import type { CardReaderConfig, Config, SocketConfig, TokenConfig } from './config.js';

export interface Changes {
  /** Some rule is another one, or stands elsewhere. */
  readonly rules: boolean;
  /** Names of tokens. */
  readonly added: readonly string[];
  readonly removed: readonly string[];
  /** Other hosts are needed, and so another login. */
  readonly replaced: readonly string[];
  /** Other settings, under the same login. */
  readonly changed: readonly string[];
  /** Keys of [agent] and [audit], and card readers, that are others. */
  readonly settings: readonly string[];
}

/** @throws AgentError CONFIGURATION, naming all that needs a restart */
export function changesOf(now: Config, next: Config): Changes {
  const fixed = fixedKeys(now, next);
  if (fixed.length > 0) {
    const back = fixed.length === 1 ? 'it' : 'them';
    const message = `${next.file}: ${fixed.join(', ')} cannot be reloaded, so nothing is changed; restart the agent, or change ${back} back`;
    throw new AgentError('CONFIGURATION', message);
  }
  const before = new Map(now.tokens.map((token) => [token.name, token]));
  const pairs = next.tokens.flatMap((token) => {
    const old = before.get(token.name);
    return old === undefined ? [] : [{ name: token.name, old, token }];
  });
  const replaced = pairs.filter(({ old, token }) => !hasSameHosts(old, token));
  const changed = pairs.filter(({ old, token }) => hasSameHosts(old, token) && !isSame(old, token));
  return {
    rules: !isDeepStrictEqual(now.rules, next.rules),
    added: namesOf(next.tokens.filter(({ name }) => !before.has(name))),
    removed: namesOf(now.tokens.filter(({ name }) => next.tokens.every((token) => token.name !== name))),
    replaced: namesOf(replaced),
    changed: namesOf(changed),
    settings: [
      ...settings.filter(([, key]) => now[key] !== next[key]).map(([name]) => name),
      ...changedReaders(now.cardReaders, next.cardReaders),
    ],
  };
}

/** What is read from the configuration whenever it is needed. */
const settings = [
  ['agent.hold_ms', 'holdMs'],
  ['agent.request_timeout_ms', 'requestTimeoutMs'],
  ['audit.on_error', 'auditOnError'],
  ['audit.journald', 'auditJournald'],
] as const;

/** Those that came, went, or are others under the same name. */
function changedReaders(now: readonly CardReaderConfig[], next: readonly CardReaderConfig[]): string[] {
  const names = new Set(namesOf([...now, ...next]));
  const named = (readers: readonly CardReaderConfig[], name: string): unknown =>
    readers.find((reader) => reader.name === name);
  return [...names]
    .filter((name) => !isDeepStrictEqual(named(now, name), named(next, name)))
    .map((name) => `card_reader.${name}`);
}

/** Sockets are bound once, and state and log belong to one agent from its start to its end. */
function fixedKeys(now: Config, next: Config): string[] {
  const [client, ...more] = now.sockets;
  const [nextClient, ...nextMore] = next.sockets;
  const isAlike = isDeepStrictEqual;
  return [
    ...changedSocketKeys('', client, nextClient),
    ...changedSocketKeys('control_', now.controlSocket, next.controlSocket),
    ...(isAlike(more, nextMore) ? [] : ['sockets']),
    ...(now.stateDir === next.stateDir ? [] : ['state_dir']),
  ]
    .map((key) => `agent.${key}`)
    .concat(now.auditFile === next.auditFile ? [] : ['audit.file']);
}

function changedSocketKeys(
  prefix: '' | 'control_',
  now: SocketConfig | undefined,
  next: SocketConfig | undefined,
): string[] {
  const group = prefix === '' ? 'socket_' : prefix;
  return [
    ...(now?.path === next?.path ? [] : [`${prefix}socket`]),
    ...(now?.mode === next?.mode ? [] : [`${group}mode`]),
    ...(now?.gid === next?.gid ? [] : [`${group}group`]),
  ];
}

/** What a host is started with. */
function hasSameHosts(a: TokenConfig, b: TokenConfig): boolean {
  const { module, uri, sessions, hosts, env } = a;
  return (
    module === b.module &&
    uri.text === b.uri.text &&
    sessions === b.sessions &&
    hosts === b.hosts &&
    isDeepStrictEqual(env, b.env)
  );
}

function isSame(a: TokenConfig, b: TokenConfig): boolean {
  return isDeepStrictEqual({ ...a, uri: a.uri.text }, { ...b, uri: b.uri.text });
}

function namesOf(named: readonly { readonly name: string }[]): string[] {
  return named.map(({ name }) => name);
}
