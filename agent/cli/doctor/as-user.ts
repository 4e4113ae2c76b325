/**
 * Looking as another user: within this process by its effective ids, in programs by setpriv(1). For whoever already is
 * that user both change nothing.
 */
import { spawnSync } from 'node:child_process';
import type { Account } from '../account.js';
import type { ServerEnvironment } from './server-environment.js';

const timeoutMs = 30_000;

export interface Outcome {
  readonly status: number | null;
  readonly stdout: string;
  /** What it printed there, or why it did not run. */
  readonly stderr: string;
}

export function isOneself({ uid }: Account): boolean {
  return process.geteuid?.() === uid;
}

/** Nothing else may run in the meantime: the ids are those of the whole process. */
export async function asUser<T>(account: Account, work: () => T | Promise<T>): Promise<T> {
  if (isOneself(account)) return work();
  const own = { uid: process.geteuid?.() ?? 0, gid: process.getegid?.() ?? 0, groups: process.getgroups?.() };
  process.setgroups?.([...account.groups]);
  process.setegid?.(account.gid);
  process.seteuid?.(account.uid);
  try {
    return await work();
  } finally {
    process.seteuid?.(own.uid);
    process.setegid?.(own.gid);
    process.setgroups?.(own.groups ?? []);
  }
}

/** Runs a program to its end; its real ids are the user's too, and it keeps no capability. */
export function runAs(account: Account, argv: readonly string[], env: ServerEnvironment): Outcome {
  const ids = [`--reuid=${account.uid}`, `--regid=${account.gid}`, `--groups=${account.groups.join(',')}`];
  const [command = '', ...args] = isOneself(account)
    ? argv
    : ['setpriv', ...ids, '--inh-caps=-all', '--', ...argv];
  const { status, stdout, stderr, error } = spawnSync(command, args, {
    encoding: 'utf8',
    timeout: timeoutMs,
    cwd: '/',
    env: { PATH: '/usr/bin:/bin', LC_ALL: 'C', ...env },
  });
  // Where it did not start there is no output at all, whatever the types say.
  return error === undefined
    ? { status, stdout, stderr }
    : { status: null, stdout: '', stderr: error.message };
}
