/**
 * The directory of a socket: made if it is missing, and refused where somebody else could swap it, or anything on the
 * way to it, links included, for another: the socket's owner and mode are set by its path.
 */
import { chmodSync, chownSync, lstatSync, mkdirSync, realpathSync } from 'node:fs';
import path from 'node:path';
import { AgentError } from '@keyagent/protocol';
import { lookups } from '../lookups.js';

const writableByOthers = 0o022;
const sticky = 0o1000;
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
  refuseSwappable(directory);
}

/** Of those that were made: a umask, as of a service, may have closed them. */
function openTo(gid: number | undefined, mode: number, first: string, last: string): void {
  for (let each = last; ; each = path.dirname(each)) {
    if (gid !== undefined) chownSync(each, -1, gid);
    chmodSync(each, mode);
    if (each === first) return;
  }
}

function refuseSwappable(directory: string): void {
  const own = [0, process.geteuid?.()];
  const refuse = (each: string): never => {
    throw new AgentError(
      'CONFIGURATION',
      `${each} must belong to root or the agent's user and be writable by nobody else: others could swap the socket in ${directory}`,
    );
  };
  for (const { directory: each, name } of lookups(directory)) {
    const { uid, mode } = lstatSync(each);
    // In a sticky directory, as /tmp, nobody renames what is another's.
    if (!own.includes(uid) || ((mode & writableByOthers) !== 0 && (mode & sticky) === 0)) refuse(each);
    const entry = path.join(each, name);
    if (!own.includes(lstatSync(entry).uid)) refuse(entry);
  }
  if ((lstatSync(realpathSync(directory)).mode & writableByOthers) !== 0) refuse(directory);
}
