/** What the kernel tells about processes: /proc. */
import { closeSync, openSync, readdirSync, readFileSync, readlinkSync, readSync } from 'node:fs';

export function childrenOf(pid: number): number[] {
  return readdirSync('/proc')
    .filter((name) => /^\d+$/.test(name))
    .map(Number)
    .filter((other) => parentOf(other) === pid);
}

/** The command's name; undefined when the process has ended. */
export function nameOf(pid: number): string | undefined {
  try {
    return readFileSync(`/proc/${pid}/comm`, 'utf8').trimEnd();
  } catch (error) {
    if (['ENOENT', 'ESRCH'].includes((error as NodeJS.ErrnoException).code ?? '')) return undefined;
    throw error;
  }
}

/** Real uid of a process. */
export function uidOf(pid: number): number {
  return Number(/^Uid:\t(\d+)/m.exec(readFileSync(`/proc/${pid}/status`, 'utf8'))?.[1]);
}

export function openDescriptors(pid: number): number {
  return readdirSync(`/proc/${pid}/fd`).length;
}

/** Inodes of its TCP sockets, listening or not. */
export function tcpSockets(pid: number): string[] {
  const all = ['tcp', 'tcp6'].map((name) => readFileSync(`/proc/${pid}/net/${name}`, 'utf8')).join('');
  return readdirSync(`/proc/${pid}/fd`)
    .map((fd) => /^socket:\[(\d+)\]$/.exec(targetOf(`/proc/${pid}/fd/${fd}`))?.[1] ?? '')
    .filter((inode) => inode !== '' && new RegExp(`^ *\\S+( +\\S+){8} +${inode} `, 'm').test(all));
}

/** Of a link; empty when it is gone. */
function targetOf(link: string): string {
  try {
    return readlinkSync(link);
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return '';
    throw error;
  }
}

/** Resident memory. */
export function residentKiB(pid: number): number {
  return Number(/^VmRSS:\s*(\d+)/m.exec(readFileSync(`/proc/${pid}/status`, 'utf8'))?.[1]);
}

/** Time that it has spent computing, by itself and in the kernel; a clock tick is 10 ms. */
export function cpuSeconds(pid: number): number {
  const fields = statFields(pid) ?? [];
  return (Number(fields[11]) + Number(fields[12])) / 100;
}

/** Time that its first thread was on a processor, nanoseconds: the load of the machine makes it no longer. */
export function mainThreadNs(pid: number): number {
  return Number(readFileSync(`/proc/${pid}/schedstat`, 'utf8').split(' ')[0]);
}

/** Files that a process has mapped: libraries and modules. */
export function mappedFiles(pid: number): string[] {
  const paths = mappings(pid).flatMap(({ file }) => (file.startsWith('/') ? [file] : []));
  return [...new Set(paths)];
}

/**
 * Whether each of the patterns occurs anywhere in what a process can read and write.
 * @param patterns    by name; at least a few random bytes each
 * @returns names of those that were found
 */
export function scanMemory(pid: number, patterns: Readonly<Record<string, Buffer>>): Set<string> {
  const found = new Set<string>();
  const memory = openSync(`/proc/${pid}/mem`, 'r');
  try {
    for (const { start, size, readable } of mappings(pid)) {
      if (!readable) continue;
      const bytes = readMapping(memory, start, size);
      for (const [name, pattern] of Object.entries(patterns)) if (bytes.includes(pattern)) found.add(name);
    }
  } finally {
    closeSync(memory);
  }
  return found;
}

/** Where in a process a pattern occurs: for each mapping that holds it, its file and its flags (proc(5), VmFlags). */
export function mappingsWith(pid: number, pattern: Buffer): { file: string; flags: string[] }[] {
  const memory = openSync(`/proc/${pid}/mem`, 'r');
  try {
    return mappings(pid)
      .filter(({ start, size, readable }) => readable && readMapping(memory, start, size).includes(pattern))
      .map(({ start, file }) => ({ file, flags: flagsOf(pid, start) }));
  } finally {
    closeSync(memory);
  }
}

function flagsOf(pid: number, start: bigint): string[] {
  const maps = readFileSync(`/proc/${pid}/smaps`, 'utf8').split(/^(?=[0-9a-f]+-[0-9a-f]+ )/m);
  const map = maps.find((text) => BigInt(`0x${text.split('-', 1)[0] ?? ''}`) === start);
  return (
    /^VmFlags: (.*)$/m
      .exec(map ?? '')?.[1]
      ?.trim()
      .split(' ') ?? []
  );
}

interface Mapping {
  start: bigint;
  size: number;
  readable: boolean;
  file: string;
}

function mappings(pid: number): Mapping[] {
  return readFileSync(`/proc/${pid}/maps`, 'utf8')
    .split('\n')
    .flatMap((line) => {
      const [, from, to, mode, file] = /^(\w+)-(\w+) (\S+) \S+ \S+ \d+ *(.*)$/.exec(line) ?? [];
      if (from === undefined || to === undefined || mode === undefined) return [];
      const start = BigInt(`0x${from}`);
      const special = file === '[vvar]' || file === '[vsyscall]' || file === '[vvar_vclock]';
      const readable = mode.startsWith('r') && !special;
      return [{ start, size: Number(BigInt(`0x${to}`) - start), readable, file: file ?? '' }];
    });
}

/** Pages that the kernel does not give (a file that shrank) end the mapping early. */
function readMapping(memory: number, start: bigint, size: number): Buffer {
  const bytes = Buffer.allocUnsafe(size);
  let length = 0;
  while (length < size) {
    const count = readChunk(memory, bytes, length, start);
    if (count === 0) break;
    length += count;
  }
  return bytes.subarray(0, length);
}

function readChunk(memory: number, bytes: Buffer, offset: number, start: bigint): number {
  try {
    return readSync(memory, bytes, offset, bytes.length - offset, start + BigInt(offset));
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'EIO') return 0;
    throw error;
  }
}

function parentOf(pid: number): number | undefined {
  const fields = statFields(pid);
  return fields === undefined ? undefined : Number(fields[1]);
}

/** proc(5), /proc/PID/stat from the state on; undefined when the process has ended. */
function statFields(pid: number): string[] | undefined {
  let stat: string;
  try {
    stat = readFileSync(`/proc/${pid}/stat`, 'utf8');
  } catch (error) {
    if (['ENOENT', 'ESRCH'].includes((error as NodeJS.ErrnoException).code ?? '')) return undefined;
    throw error;
  }
  // The name in parentheses may hold anything.
  return stat.slice(stat.lastIndexOf(')') + 2).split(' ');
}
