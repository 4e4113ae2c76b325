/** Cgroups that a test makes for its own processes, under the names that systemd would give them. */
import { mkdirSync, readdirSync, readFileSync, rmdirSync } from 'node:fs';
import path from 'node:path';
import type { Cleanup } from './cleanup.js';
import { waitFor } from './wait.js';

/** Mount point of the unified hierarchy (cgroups(7)); undefined where there is none. */
export function cgroupRoot(): string | undefined {
  const mounts = readFileSync('/proc/self/mounts', 'utf8').split('\n');
  return mounts.map((line) => line.split(' ')).find(([, , type]) => type === 'cgroup2')?.[1];
}

/**
 * Makes a cgroup and whatever is missing above it; what it made goes when the test ends, unless others use it by then.
 * @param name  as in /proc/PID/cgroup: /system.slice/x.service
 * @returns its folder
 */
export function makeCgroup(cleanup: Cleanup, name: string): string {
  const root = cgroupRoot();
  if (root === undefined) throw new Error('no cgroup2 is mounted');
  const folder = path.join(root, name);
  makeOne(cleanup, folder);
  return folder;
}

function makeOne(cleanup: Cleanup, folder: string): void {
  try {
    mkdirSync(folder);
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException;
    if (code === 'EEXIST') return;
    if (code !== 'ENOENT') throw error;
    // Another test may just have removed what is above it.
    makeOne(cleanup, path.dirname(folder));
    makeOne(cleanup, folder);
    return;
  }
  // A cgroup is busy until its last process is gone.
  cleanup.after(async () => {
    await waitFor(`${folder} is empty`, () => removed(folder));
  });
}

function removed(folder: string): boolean {
  try {
    rmdirSync(folder);
    return true;
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'EBUSY') throw error;
    // A slice may hold another test's cgroup.
    return readdirSync(folder, { withFileTypes: true }).some((entry) => entry.isDirectory());
  }
}
