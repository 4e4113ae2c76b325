/**
 * What /proc tells about a process, all of it read through one directory descriptor, which never comes to stand for
 * another process.
 */
import { closeSync, constants, openSync, readFileSync, readlinkSync } from 'node:fs';
import { native } from '../native/index.js';

export interface ProcessFacts {
  /** Clock ticks after boot, as text: with the pid it names one process. */
  readonly startTime: string;
  /** Path of the executable as the kernel prints it; undefined where this agent may not look (ptrace(2)). */
  readonly shownExe: string | undefined;
  /** Which file the executable is, as native.fileIdentity says. */
  readonly exeFile: string | undefined;
  /** Content of /proc/PID/cgroup. */
  readonly cgroup: string;
}

/** @returns undefined when there is no such process, or /proc hides it */
export function processFacts(pid: number): ProcessFacts | undefined {
  return inProcessDirectory(pid, (directory) => {
    const exe = `${directory}/exe`;
    const shownExe = ifAllowed(() => readlinkSync(exe));
    return {
      startTime: startTimeIn(directory),
      shownExe,
      exeFile: shownExe === undefined ? undefined : ifAllowed(() => native.fileIdentity(exe)),
      cgroup: readFileSync(`${directory}/cgroup`, 'utf8'),
    };
  });
}

/** Which file a process runs; undefined when this agent cannot see that. By its pid: ask afterwards whether it lives. */
export function executableOf(pid: number): string | undefined {
  try {
    return native.fileIdentity(`/proc/${pid}/exe`);
  } catch (error) {
    if (hasCode(error, ['ENOENT', 'ESRCH', 'EACCES', 'EPERM'])) return undefined;
    throw error;
  }
}

function inProcessDirectory<T>(pid: number, read: (directory: string) => T): T | undefined {
  let fd: number | undefined;
  try {
    fd = openSync(`/proc/${pid}`, constants.O_RDONLY | constants.O_DIRECTORY);
    return read(`/proc/self/fd/${fd}`);
  } catch (error) {
    if (hasCode(error, ['ENOENT', 'ESRCH'])) return undefined;
    throw error;
  } finally {
    if (fd !== undefined) closeSync(fd);
  }
}

/** Field 22 of proc(5); the name in parentheses, field 2, may hold anything. */
function startTimeIn(directory: string): string {
  const stat = readFileSync(`${directory}/stat`, 'latin1');
  return stat.slice(stat.lastIndexOf(')') + 2).split(' ')[19] ?? '';
}

function ifAllowed<T>(read: () => T): T | undefined {
  try {
    return read();
  } catch (error) {
    if (hasCode(error, ['EACCES', 'EPERM'])) return undefined;
    throw error;
  }
}

function hasCode(error: unknown, codes: readonly string[]): boolean {
  return codes.includes((error as NodeJS.ErrnoException).code ?? '');
}
