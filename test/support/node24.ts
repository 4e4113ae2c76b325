/** The newest Node that is supported for long, from npm; fetched once, then from npm's cache. */
import { mustRun } from './command.js';

let path: Promise<string> | undefined;

/** @returns its executable */
export function node24(): Promise<string> {
  path ??= mustRun('npx', ['--yes', 'node@24', '-p', 'process.execPath'], { timeoutMs: 180_000 }).then(
    ({ stdout }) => stdout.trim(),
  );
  return path;
}
