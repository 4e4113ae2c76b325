/** Whom servers run as: www-data under a root parent, as Debian ships them; for a developer without root, themselves. */
import { execFileSync, spawnSync } from 'node:child_process';
import { keyagentd } from './paths.js';

export interface Account {
  name: string;
  group: string;
  uid: number;
  gid: number;
}

export const isRoot = process.getuid?.() === 0;

export function serverUser(): Account {
  return isRoot ? account('www-data') : account(id('-un'));
}

export function account(name: string): Account {
  return { name, group: id('-gn', name), uid: Number(id('-u', name)), gid: Number(id('-g', name)) };
}

/** What this machine lacks for a test in which this user runs our programs. */
export function whyNotAs({ name, uid, gid }: Account): string | undefined {
  if (!isRoot) return 'needs root, to run programs as another user';
  const { status } = spawnSync('test', ['-r', keyagentd], { uid, gid });
  return status === 0 ? undefined : `needs a checkout that ${name} can read`;
}

function id(...args: string[]): string {
  return execFileSync('id', args, { encoding: 'utf8' }).trim();
}
