/** The PKCS#11 module of test/module that counts what is called and hands it on to SoftHSM. */
import { readFileSync } from 'node:fs';
import path from 'node:path';
import { root, softHsmModule } from './paths.js';
import type { SoftHsm } from './softhsm.js';

export class CountingModule {
  static readonly file = path.join(root, 'build/test/counting.so');
  /** For AgentSpec.tokenSettings. */
  readonly tokenSettings: { module: string; env: Record<string, string> };
  readonly #log: string;

  constructor(folder: string, hsm: SoftHsm) {
    this.#log = path.join(folder, 'calls.log');
    const env = { ...hsm.env, COUNTING_MODULE: softHsmModule, COUNTING_LOG: this.#log };
    this.tokenSettings = { module: CountingModule.file, env };
  }

  /** How often each function was called, by all processes together. */
  calls(): Record<string, number> {
    const counts: Record<string, number> = {};
    for (const name of readFileSync(this.#log, 'utf8').split('\n')) counts[name] = (counts[name] ?? 0) + 1;
    return counts;
  }
}
