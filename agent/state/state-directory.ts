/**
 * The state directory: made if it is missing, refused if anybody else could change what is in it, and held as long as
 * the agent lives, because two agents would undo each other's PIN budget and audit log.
 */
import { closeSync, lstatSync, mkdirSync, readdirSync } from 'node:fs';
import { join } from 'node:path';
import { AgentError } from '@keyagent/protocol';
import { native } from '../native/index.js';
import { refuseUnsafe, refuseUnsafeDirectory } from '../unsafe-file.js';

export interface StateDirectory {
  /** Lets another agent have it. */
  release(): void;
}

/** @throws AgentError CONFIGURATION */
export function holdStateDirectory(path: string, euid = process.geteuid?.() ?? 0): StateDirectory {
  make(path);
  refuseUnsafeDirectory(path, euid);
  const lock = hold(path);
  for (const name of readdirSync(path)) refuseUnsafeEntry(join(path, name), euid);
  return {
    release: () => {
      closeSync(lock);
    },
  };
}

function make(path: string): void {
  try {
    mkdirSync(path, { recursive: true, mode: 0o700 });
  } catch (cause) {
    throw unusable(path, cause);
  }
}

function hold(path: string): number {
  try {
    return native.lockFile(join(path, 'lock'));
  } catch (cause) {
    if ((cause as NodeJS.ErrnoException).code !== 'EAGAIN') throw unusable(path, cause);
    throw new AgentError(
      'CONFIGURATION',
      `${path}: an agent that runs has this state directory; stop it first (keyagent stop), or give this one a state_dir of its own`,
    );
  }
}

/** What somebody put there while the directory was open to them. */
function refuseUnsafeEntry(path: string, euid: number): void {
  const stat = lstatSync(path);
  if (stat.isSymbolicLink()) {
    throw new AgentError('CONFIGURATION', `${path}: is a symbolic link; put the file itself there`);
  }
  // A socket is nothing that is read.
  if (!stat.isSocket()) refuseUnsafe(path, stat, euid);
}

function unusable(path: string, cause: unknown): AgentError {
  const { message } = cause as Error;
  return new AgentError(
    'CONFIGURATION',
    `${path}: no place for the agent's state: ${message}; correct it, or set state_dir`,
    { cause },
  );
}
