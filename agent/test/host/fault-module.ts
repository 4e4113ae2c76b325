/** The counting module around SoftHSM (test/module): makes calls fail, and tells which were made. */
import { existsSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { pin, type SoftHsm } from './softhsm.js';

export const countingModule = fileURLToPath(
  new URL('../../../build/test/counting-pkcs11.so', import.meta.resolve('@keyagent/agent/host/main.js')),
);

export class FaultModule {
  readonly env: NodeJS.ProcessEnv;
  readonly #countFile: string;
  readonly #faultFile: string;

  constructor(hsm: SoftHsm, name: string) {
    this.#countFile = join(hsm.directory, `${name}.count`);
    this.#faultFile = join(hsm.directory, `${name}.faults`);
    this.env = {
      ...hsm.env,
      KEYAGENT_TEST_COUNT_FILE: this.#countFile,
      KEYAGENT_TEST_FAULT_FILE: this.#faultFile,
      KEYAGENT_TEST_PIN: pin,
    };
    this.set();
  }

  /** Lines as test/module/faults.h says; none ends every fault. */
  set(...rules: string[]): void {
    writeFileSync(this.#faultFile, rules.map((rule) => `${rule}\n`).join(''));
  }

  /** Calls of a function so far, with any result or with one. */
  count(name: string, rv?: number): number {
    const all = existsSync(this.#countFile) ? readFileSync(this.#countFile, 'utf8').split('\n') : [];
    const wanted = rv === undefined ? undefined : `0x${rv.toString(16)}`;
    return all.filter((line) => {
      const [, called, result] = line.split(' ');
      return called === name && (wanted === undefined || result === wanted);
    }).length;
  }
}
