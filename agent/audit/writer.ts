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

/** False too where it cannot be known: then what a crash of the machine explains is not called tampering. */
export function isThisBoot({ boot }: Writer): boolean {
  return boot !== unknown && boot === bootId();
}

/** False too where /proc does not show it, as in another container. */
export function isRunning({ boot, pid, startTicks: since }: Writer): boolean {
  const now = bootId();
  const otherBoot = boot !== now && boot !== unknown && now !== unknown;
  return !otherBoot && startTicks(pid) === since;
}

const unknown = 'unknown';

/** systemd's ProcSubset=pid hides the file: the unit says it in a variable, without hyphens (%b). */
function bootId(): string {
  try {
    return readFileSync('/proc/sys/kernel/random/boot_id', 'utf8').trim().replaceAll('-', '');
  } catch (error) {
    if (!isOutOfSight(error)) throw error;
    return /^[0-9a-f]{32}$/.exec(process.env['KEYAGENT_BOOT_ID'] ?? '')?.[0] ?? unknown;
  }
}

/** proc(5): the name in parentheses may hold anything; state is the field after it, start time the 20th. */
function startTicks(pid: number): number | undefined {
  let stat: string;
  try {
    stat = readFileSync(`/proc/${pid}/stat`, 'utf8');
  } catch (error) {
    if (!isOutOfSight(error)) throw error;
    return undefined;
  }
  const [state = '', ...fields] = stat.slice(stat.lastIndexOf(')') + 2).split(' ');
  return /[ZX]/.test(state) ? undefined : Number(fields[18]);
}

function isOutOfSight(error: unknown): boolean {
  return ['ENOENT', 'ESRCH', 'EACCES'].includes((error as NodeJS.ErrnoException).code ?? '');
}
