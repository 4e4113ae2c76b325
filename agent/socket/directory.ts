/**
 * The directory of a socket: made if it is missing, and refused where somebody else could swap it, or anything on the
 * way to it, links included, for another: the socket's owner and mode are set by its path.
 */
import { chmodSync, chownSync, lstatSync, mkdirSync } from 'node:fs';
import path from 'node:path';
import { AgentError } from '@keyagent/protocol';
import { atStake, refuseUnsafeDirectory } from '../unsafe-file.js';

/** Of a directory that is made here: who may pass. */
export type Passage = 'group' | 'everybody';

const modes: Record<Passage, number> = { group: 0o750, everybody: 0o755 };

/** @param gid of the socket. @throws AgentError CONFIGURATION */
export function prepareDirectory(directory: string, gid: number | undefined, passage: Passage): void {
  const first = mkdirSync(directory, { recursive: true, mode: modes.group });
  if (first !== undefined) openTo(gid, modes[passage], first, directory);
  if (!lstatSync(directory).isDirectory()) {
    throw new AgentError(
      'CONFIGURATION',
      `${directory} is not a directory, or is a link to one; name the real one`,
    );
  }
  try {
    refuseUnsafeDirectory(directory);
  } catch (error) {
    throw atStake(error, `others could swap the socket in ${directory}`);
  }
}

/** Of those that were made: a umask, as of a service, may have closed them. */
function openTo(gid: number | undefined, mode: number, first: string, last: string): void {
  for (let each = last; ; each = path.dirname(each)) {
    if (gid !== undefined) chownSync(each, -1, gid);
    chmodSync(each, mode);
    if (each === first) return;
  }
}
