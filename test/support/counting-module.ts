/** The PKCS#11 module of test/module, which counts what is called in it and hands it on to SoftHSM. */
import { readFileSync } from 'node:fs';
import path from 'node:path';
import { root } from './paths.js';
import type { SoftHsm } from './softhsm.js';

export class CountingModule {
  /** For AgentSpec.tokenSettings. */
  readonly tokenSettings: { module: string; env: Record<string, string> };
  readonly #countFile: string;

  constructor(folder: string, hsm: SoftHsm) {
    this.#countFile = path.join(folder, 'pkcs11-calls');
    this.tokenSettings = {
      module: path.join(root, 'build/test/counting-pkcs11.so'),
      env: { ...hsm.env, KEYAGENT_TEST_COUNT_FILE: this.#countFile },
    };
  }

  /** How often each function was called, by all processes together. */
  calls(): Map<string, number> {
    const counts = new Map<string, number>();
    // PID FUNCTION RV
    for (const [, name] of readFileSync(this.#countFile, 'utf8').matchAll(/^\d+ (\w+) 0x\w+$/gm)) {
      if (name !== undefined) counts.set(name, (counts.get(name) ?? 0) + 1);
    }
    return counts;
  }
}
