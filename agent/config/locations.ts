/**
 * Default places of files and sockets: those of the system for root and for a service of the system manager,
 * the XDG base directories for everybody else. systemd's RUNTIME_, STATE_ and LOGS_DIRECTORY win over both.
 * Input: the environment and the effective uid. Nothing is created here.
 */
import { homedir } from 'node:os';
import path from 'node:path';
import { AgentError } from '@keyagent/protocol';

export interface Surroundings {
  env: NodeJS.ProcessEnv;
  euid: number;
}

export function surroundings(): Surroundings {
  return { env: process.env, euid: process.geteuid?.() ?? 0 };
}

export const systemConfigFile = '/etc/keyagent/keyagent.toml';
export const systemRuntimeDir = '/run/keyagent';

/** The value of a variable; empty counts as unset. */
export function variable({ env }: Surroundings, name: string): string | undefined {
  return env[name] === '' ? undefined : env[name];
}

/** The file that keyagentd reads: the option, KEYAGENT_CONFIG, the default. */
export function configFile(option: string | undefined, around: Surroundings = surroundings()): string {
  const named = option ?? variable(around, 'KEYAGENT_CONFIG');
  if (named !== undefined) return path.resolve(named);
  return isSystemWide(around) ? systemConfigFile : userConfigFile(around);
}

export function userConfigFile({ env }: Surroundings): string {
  return path.join(
    absolute(env.XDG_CONFIG_HOME) ?? path.join(home(env), '.config'),
    'keyagent/keyagent.toml',
  );
}

/** Directory of both sockets. @throws AgentError CONFIGURATION where there is no place for one */
export function runtimeDir(around: Surroundings): string {
  const { env } = around;
  const given = fromSystemd(env.RUNTIME_DIRECTORY);
  if (given !== undefined) return given;
  if (isSystemWide(around)) return systemRuntimeDir;
  const base = absolute(env.XDG_RUNTIME_DIR);
  if (base !== undefined) return path.join(base, 'keyagent');
  throw new AgentError(
    'CONFIGURATION',
    'XDG_RUNTIME_DIR is not set, so there is no default place for the socket; set it, or KEYAGENT_SOCK, or agent.socket in the configuration',
  );
}

export function stateDir(around: Surroundings): string {
  const given = fromSystemd(around.env.STATE_DIRECTORY);
  return given ?? (isSystemWide(around) ? '/var/lib/keyagent' : userStateDir(around));
}

export function auditFile(around: Surroundings): string {
  const given = fromSystemd(around.env.LOGS_DIRECTORY);
  const directory = given ?? (isSystemWide(around) ? '/var/log/keyagent' : userStateDir(around));
  return path.join(directory, 'audit.jsonl');
}

/** The system manager gives its services an INVOCATION_ID but no XDG_RUNTIME_DIR; a user's manager gives both. */
function isSystemWide({ env, euid }: Surroundings): boolean {
  return euid === 0 || (env.INVOCATION_ID !== undefined && env.XDG_RUNTIME_DIR === undefined);
}

function userStateDir({ env }: Surroundings): string {
  return path.join(absolute(env.XDG_STATE_HOME) ?? path.join(home(env), '.local/state'), 'keyagent');
}

/** systemd.exec(5): several directories are separated by colons; the first is ours. */
function fromSystemd(value: string | undefined): string | undefined {
  return absolute(value?.split(':', 1)[0]);
}

/** XDG Base Directory Specification: a relative path in one of its variables is invalid and ignored. */
function absolute(value: string | undefined): string | undefined {
  return value !== undefined && path.isAbsolute(value) ? value : undefined;
}

function home(env: NodeJS.ProcessEnv): string {
  return absolute(env.HOME) ?? homedir();
}
