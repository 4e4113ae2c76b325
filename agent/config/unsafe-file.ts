/**
 * Refuses a file that somebody else could change: it names modules that are loaded and users that may sign.
 * The file and its directory must belong to root or to the agent's own user and be writable by their owner alone, and
 * so must everything above, where a sticky directory such as /tmp will do: whoever can rename there can swap it.
 */
import { realpathSync, statSync, type Stats } from 'node:fs';
import path from 'node:path';
import { AgentError } from '@keyagent/protocol';
import { unreadable } from './config-text.js';

const writableByOthers = 0o022;
const sticky = 0o1000;

/** @throws AgentError CONFIGURATION, also when the file is not there */
export function refuseUnsafeFile(file: string, euid = process.geteuid?.() ?? 0): void {
  let target: string;
  try {
    target = realpathSync(file);
  } catch (cause) {
    throw unreadable(file, cause);
  }
  if (!statSync(target).isFile())
    throw new AgentError('CONFIGURATION', `${file}: is not a regular file; name a file`);
  // A link and what it points to can both be replaced, each through its own directory.
  const directories = [path.dirname(target), path.dirname(path.resolve(file))];
  for (const each of new Set([target, ...directories])) refuseUnsafe(each, statSync(each), euid);
  for (const directory of directories) refuseSwappable(directory, euid);
}

/** @throws AgentError CONFIGURATION for a directory that others could put another one in the place of */
export function refuseSwappable(directory: string, euid: number): void {
  for (const each of above(path.resolve(directory))) {
    const stat = statSync(each);
    if ((stat.mode & sticky) === 0 || stat.uid !== 0) refuseUnsafe(each, stat, euid);
  }
}

/** Every directory above one. */
function above(directory: string): string[] {
  const parent = path.dirname(directory);
  return parent === directory ? [] : [parent, ...above(parent)];
}

/** The same for something that was looked at already, whatever holds it. */
export function refuseUnsafe(name: string, { uid, mode }: Stats, euid: number): void {
  if (uid !== 0 && uid !== euid) {
    throw new AgentError(
      'CONFIGURATION',
      `${name}: belongs to uid ${uid}; it must belong to root${euid === 0 ? '' : ` or uid ${euid}`} (chown it)`,
    );
  }
  if ((mode & writableByOthers) !== 0) {
    const octal = (mode & 0o7777).toString(8).padStart(4, '0');
    throw new AgentError('CONFIGURATION', `${name}: mode ${octal} lets others write to it; chmod go-w it`);
  }
}
