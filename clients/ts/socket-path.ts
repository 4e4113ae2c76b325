/** Which socket to use (PROTOCOL.md, "Trusting a socket"). Input: what the program said, the environment. Output: a path. */
import { existsSync } from 'node:fs';
import { isAbsolute } from 'node:path';
import { AgentError } from '@keyagent/protocol';

const systemSocket = '/run/keyagent/agent.sock';
/** sockaddr_un.sun_path holds 108 bytes, the last one 0. */
const longestPath = 107;

export interface Surroundings {
  readonly env: NodeJS.ProcessEnv;
  /** A set-user-ID program does not believe its environment. */
  readonly isSetUid: boolean;
  readonly exists: (path: string) => boolean;
}

function thisProcess(): Surroundings {
  const isSetUid = process.getuid?.() !== process.geteuid?.() || process.getgid?.() !== process.getegid?.();
  return { env: process.env, isSetUid, exists: existsSync };
}

/** @throws AgentError INVALID for a path that is relative or too long */
export function socketPath(given?: string, surroundings: Surroundings = thisProcess()): string {
  const path = given ?? defaultPath(surroundings);
  if (!isAbsolute(path)) throw new AgentError('INVALID', `socket "${path}": give an absolute path`);
  const length = Buffer.byteLength(path);
  if (length > longestPath) {
    throw new AgentError('INVALID', `socket "${path}": ${length} bytes; at most ${longestPath} fit`);
  }
  return path;
}

/** An empty variable counts as unset. */
function defaultPath({ env, isSetUid, exists }: Surroundings): string {
  const { KEYAGENT_SOCK: named, XDG_RUNTIME_DIR: runtimeDir } = isSetUid ? {} : env;
  if (named) return named;
  if (!runtimeDir || exists(systemSocket)) return systemSocket;
  return `${runtimeDir}/keyagent/agent.sock`;
}
