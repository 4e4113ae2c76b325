/** The PKCS#11 modules of test/module, where an agent takes them. */
import { chmodSync, copyFileSync, rmSync } from 'node:fs';
import path from 'node:path';
import { root } from './paths.js';

/** Copies it: others may be able to write to the checkout or above, and the agent loads no module from there. */
export function testModule(folder: string, name: string): string {
  const copy = path.join(folder, name);
  // Who has it loaded keeps the old one.
  rmSync(copy, { force: true });
  copyFileSync(path.join(root, 'build/test', name), copy);
  chmodSync(copy, 0o755);
  return copy;
}
