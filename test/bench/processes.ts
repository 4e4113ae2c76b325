/** What the kernel counted for an agent and its token hosts: processor time, memory. */
import { readFileSync } from 'node:fs';
import { childrenOf } from '../support/proc.js';

/** _SC_CLK_TCK on Linux. */
const ticksPerSecond = 100;

export function agentAndHosts(agentPid: number): number[] {
  return [agentPid, ...childrenOf(agentPid)];
}

/** User and system time since their start, microseconds. */
export function cpuUs(pids: readonly number[]): number {
  return pids.reduce((sum, pid) => sum + (ticksOf(pid) / ticksPerSecond) * 1e6, 0);
}

/** Resident memory, MiB; pages that two of them share count once each. */
export function residentMiB(pids: readonly number[]): number {
  return pids.reduce((sum, pid) => sum + rssKiB(pid) / 1024, 0);
}

function ticksOf(pid: number): number {
  const stat = readFileSync(`/proc/${pid}/stat`, 'utf8');
  const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' ');
  return Number(fields[11]) + Number(fields[12]);
}

function rssKiB(pid: number): number {
  return Number(/^Rss: +(\d+) kB$/m.exec(readFileSync(`/proc/${pid}/smaps_rollup`, 'utf8'))?.[1]);
}
