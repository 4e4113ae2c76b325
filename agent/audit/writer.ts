/** Who writes the log: one process of one boot, told apart from a later one that got the same pid. */
import { readFileSync } from 'node:fs';

export interface Writer {
  /** Of this boot of the machine. */
  readonly boot: string;
  readonly pid: number;
  /** When the process began, clock ticks since boot. */
  readonly startTicks: number;
}

export function thisWriter(): Writer {
  return { boot: bootId(), pid: process.pid, startTicks: startTicks(process.pid) ?? 0 };
}

export function isThisBoot({ boot }: Writer): boolean {
  return boot === bootId();
}

/** False too where /proc does not show it, as in another container. */
export function isRunning(writer: Writer): boolean {
  return isThisBoot(writer) && startTicks(writer.pid) === writer.startTicks;
}

function bootId(): string {
  return readFileSync('/proc/sys/kernel/random/boot_id', 'utf8').trim();
}

/** proc(5): the name in parentheses may hold anything; state is the field after it, start time the 20th. */
function startTicks(pid: number): number | undefined {
  let stat: string;
  try {
    stat = readFileSync(`/proc/${pid}/stat`, 'utf8');
  } catch (error) {
    if (['ENOENT', 'ESRCH', 'EACCES'].includes((error as NodeJS.ErrnoException).code ?? '')) return undefined;
    throw error;
  }
  const [state = '', ...fields] = stat.slice(stat.lastIndexOf(')') + 2).split(' ');
  return /[ZX]/.test(state) ? undefined : Number(fields[18]);
}
