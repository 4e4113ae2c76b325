/** A folder of its own for each test, reachable by the users that servers drop to. */
import { chmodSync, mkdtempSync, rmSync } from 'node:fs';
import type { Cleanup } from './cleanup.js';

/** Directly under /tmp: the path of a Unix socket has 107 bytes at most, and TMPDIR may be private to one user. */
export function scratchFolder(cleanup: Cleanup): string {
  const folder = mkdtempSync('/tmp/keyagent-test-');
  chmodSync(folder, 0o755);
  cleanup.after(() => {
    rmSync(folder, { recursive: true, force: true });
  });
  return folder;
}
