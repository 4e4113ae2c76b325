/** The ids under which the kernel shows users and groups that this user namespace has no ids for (user_namespaces(7)). */
import { readFileSync } from 'node:fs';

const files = { user: '/proc/sys/kernel/overflowuid', group: '/proc/sys/kernel/overflowgid' } as const;
/** The kernel's defaults, where a sandbox hides the files (ProcSubset=pid). */
const defaultId = 65534;

export function overflowId(what: 'user' | 'group'): number {
  try {
    return Number(readFileSync(files[what], 'latin1'));
  } catch (error) {
    if (['ENOENT', 'EACCES', 'EPERM'].includes((error as NodeJS.ErrnoException).code ?? '')) return defaultId;
    throw error;
  }
}
