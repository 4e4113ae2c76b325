/**
 * Refuses what somebody else could change: a configuration, which names modules and users that may sign, a module, which
 * is code that gets the PIN, and the directories of state and sockets. A file and its directory must belong to root or to
 * the agent's own user and be writable by their owner alone, and so must everything on the way, links followed, where a
 * sticky directory such as /tmp will do: whoever can rename there can swap it.
 */
import { existsSync, lstatSync, realpathSync, statSync, type Stats } from 'node:fs';
import path from 'node:path';
import { AgentError } from '@keyagent/protocol';
import { absolute, lookups } from './lookups.js';

const writableByOthers = 0o022;
const sticky = 0o1000;
const unreachable: ReadonlySet<string | undefined> = new Set(['ENOENT', 'ENOTDIR', 'EACCES', 'ELOOP']);

/** @throws AgentError CONFIGURATION, also when the file is not there */
export function refuseUnsafeFile(file: string, euid = process.geteuid?.() ?? 0): void {
  let target: string;
  try {
    target = realpathSync.native(file);
  } catch (cause) {
    throw unreadable(file, cause);
  }
  if (!statSync(target).isFile())
    throw new AgentError('CONFIGURATION', `${file}: is not a regular file; name a file`);
  const directories = [path.dirname(target), path.dirname(absolute(file))];
  for (const each of new Set([target, ...directories])) refuseUnsafe(each, statSync(each), euid);
  refuseSwappable(file, euid);
}

/**
 * Says what is at stake. Of a module that is not there only that nobody else can put one there: who loads it says the rest.
 * @throws AgentError CONFIGURATION
 */
export function refuseUnsafeModule(module: string, euid = process.geteuid?.() ?? 0): void {
  try {
    if (existsSync(module)) refuseUnsafeFile(module, euid);
    else refuseSwappable(module, euid);
  } catch (cause) {
    // A host of the same user finds no way to it either.
    if (unreachable.has((cause as NodeJS.ErrnoException).code)) return;
    throw atStake(cause, 'whoever can change a PKCS#11 module gets the PIN');
  }
}

/** The same for a directory, whatever is in it. @throws AgentError CONFIGURATION */
export function refuseUnsafeDirectory(directory: string, euid = process.geteuid?.() ?? 0): void {
  refuseUnsafe(directory, statSync(directory), euid);
  refuseSwappable(directory, euid);
}

/** A refusal, and why it matters. */
export function atStake(error: unknown, stake: string): unknown {
  if (!(error instanceof AgentError)) return error;
  return new AgentError(error.code, `${error.message}: ${stake}`, { cause: error });
}

/** Of a path others could put another thing in the place of a part. */
function refuseSwappable(file: string, euid: number): void {
  for (const { directory, name } of lookups(file)) {
    const stat = statSync(directory);
    // There nobody can rename what belongs to another.
    const ownOnly = (stat.mode & sticky) !== 0 && stat.uid === 0;
    const entry = path.join(directory, name);
    if (!ownOnly) refuseUnsafe(directory, stat, euid);
    else refuseForeign(entry, lstatSync(entry, { throwIfNoEntry: false }), euid);
  }
}

/** The same for something that was looked at already, whatever holds it. */
export function refuseUnsafe(name: string, stat: Stats, euid: number): void {
  refuseForeign(name, stat, euid);
  if ((stat.mode & writableByOthers) === 0) return;
  const octal = (stat.mode & 0o7777).toString(8).padStart(4, '0');
  throw new AgentError('CONFIGURATION', `${name}: mode ${octal} lets others write to it; chmod go-w it`);
}

/** Of a file that cannot be read: what to do. */
export function unreadable(file: string, cause: unknown): AgentError {
  const { code } = cause as NodeJS.ErrnoException;
  const advice =
    code === 'ENOENT'
      ? 'no such file; write one, or name another with --config or KEYAGENT_CONFIG'
      : `cannot be read (${code ?? String(cause)}); check its owner and mode`;
  return new AgentError('CONFIGURATION', `${file}: ${advice}`, { cause });
}

function refuseForeign(name: string, stat: Stats | undefined, euid: number): void {
  if (stat === undefined)
    throw new AgentError(
      'CONFIGURATION',
      `${name}: is not there, and anybody can make it; name another place`,
    );
  const { uid } = stat;
  if (uid === 0 || uid === euid) return;
  const owners = `root${euid === 0 ? '' : ` or uid ${euid}`}`;
  throw new AgentError(
    'CONFIGURATION',
    `${name}: belongs to uid ${uid}; it must belong to ${owners} (chown it)`,
  );
}
