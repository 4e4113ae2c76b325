/** Whom servers run as: www-data under a root parent, as Debian ships them; for a developer without root, themselves. */
import { execFileSync } from 'node:child_process';

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

function id(...args: string[]): string {
  return execFileSync('id', args, { encoding: 'utf8' }).trim();
}
