/**
 * Which sockets a command talks to: the option, the environment, the configuration file if it can be read, the
 * default. A socket named by option or environment belongs to its own agent: the configuration is then not asked.
 */
import { existsSync } from 'node:fs';
import path from 'node:path';
import { AgentError } from '@keyagent/protocol';
import {
  configFile,
  systemConfigFile,
  systemRuntimeDir,
  userConfigFile,
  variable,
  type Surroundings,
} from '../config/locations.js';
import { ConfigText, readConfigSource } from '../config/config-text.js';
import { refuseUnsafeFile } from '../unsafe-file.js';

export interface SocketOptions {
  socket?: string;
  controlSocket?: string;
  config?: string;
}

export interface SocketPaths {
  client: string;
  control: string;
}

export function socketPaths(options: SocketOptions, around: Surroundings): SocketPaths {
  const namedClient = options.socket ?? variable(around, 'KEYAGENT_SOCK');
  const namedControl = options.controlSocket ?? variable(around, 'KEYAGENT_CONTROL_SOCK');
  const needsConfig =
    options.config !== undefined || (namedClient === undefined && namedControl === undefined);
  const config = needsConfig ? readableConfig(options.config, around) : undefined;
  const client =
    namedClient ??
    stringIn(config, ['agent', 'socket']) ??
    path.join(namedControl === undefined ? defaultDir(around) : path.dirname(namedControl), 'agent.sock');
  const control =
    namedControl ??
    stringIn(config, ['agent', 'control_socket']) ??
    path.join(path.dirname(client), 'control.sock');
  return { client: path.resolve(client), control: path.resolve(control) };
}

/**
 * The configuration as text; undefined if none was named and the default one is missing or not for this user.
 * @throws AgentError CONFIGURATION if it was named and cannot be read, or others could have written it
 */
export function readableConfig(option: string | undefined, around: Surroundings): ConfigText | undefined {
  if (option !== undefined || variable(around, 'KEYAGENT_CONFIG') !== undefined)
    return readSafely(configFile(option, around), around.euid);
  const candidates = around.euid === 0 ? [systemConfigFile] : [userConfigFile(around), systemConfigFile];
  for (const file of candidates) {
    try {
      return readSafely(file, around.euid);
    } catch (error) {
      if (!isOutOfReach(error)) throw error;
    }
  }
  return undefined;
}

/** A file of another user could lead an operator's PIN to that user's socket. */
function readSafely(file: string, euid: number): ConfigText {
  refuseUnsafeFile(file, euid);
  return new ConfigText(readConfigSource(file));
}

function isOutOfReach(error: unknown): boolean {
  const cause = error instanceof AgentError ? (error.cause as NodeJS.ErrnoException | undefined) : undefined;
  return cause?.code === 'ENOENT' || cause?.code === 'EACCES' || cause?.code === 'ENOTDIR';
}

/** A user's own agent if it is there, else the system's. */
function defaultDir({ env, euid }: Surroundings): string {
  if (euid === 0 || !env.XDG_RUNTIME_DIR) return systemRuntimeDir;
  const own = path.join(env.XDG_RUNTIME_DIR, 'keyagent');
  return existsSync(own) ? own : systemRuntimeDir;
}

export function stringIn(
  config: ConfigText | undefined,
  at: readonly (string | number)[],
): string | undefined {
  const value = config?.valueAt(at);
  return typeof value === 'string' && value !== '' ? value : undefined;
}
