/** The counting module around SoftHSM (test/module): makes calls fail, and tells which were made. */
import { chmodSync, copyFileSync, existsSync, readFileSync, renameSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { pin, type SoftHsm } from './softhsm.js';

const built = fileURLToPath(
  new URL('../../../build/test/counting-pkcs11.so', import.meta.resolve('@keyagent/agent/host/main.js')),
);

export class FaultModule {
  /** A copy: others may be able to write to the checkout, and no host loads a module from there. */
  readonly module: string;
  readonly env: NodeJS.ProcessEnv;
  readonly #countFile: string;
  readonly #faultFile: string;

  constructor(hsm: SoftHsm, name: string) {
    this.module = join(hsm.directory, `${name}.so`);
    copyFileSync(built, this.module);
    chmodSync(this.module, 0o755);
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
    // At once: a host that looked while the file was being written would find none.
    const next = `${this.#faultFile}.next`;
    writeFileSync(next, rules.map((rule) => `${rule}\n`).join(''));
    renameSync(next, this.#faultFile);
  }

  /** Calls of a function so far that returned, with any value or with one. */
  count(name: string, rv?: number): number {
    const result = rv === undefined ? /^0x/ : new RegExp(`^0x${rv.toString(16)}$`);
    return this.#lines(name, result);
  }

  /** Settles when a call of the function is asleep (sleep_ms). */
  async sleeps(name: string): Promise<void> {
    while (this.#lines(name, /^sleeps$/) === 0) await setTimeout(10);
  }

  #lines(name: string, result: RegExp): number {
    const all = existsSync(this.#countFile) ? readFileSync(this.#countFile, 'utf8').split('\n') : [];
    return all.filter((line) => {
      const [, called, what = ''] = line.split(' ');
      return called === name && result.test(what);
    }).length;
  }
}
