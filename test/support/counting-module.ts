/** The PKCS#11 module of test/module, which counts what is called in it, spoils it on request, and hands it on to SoftHSM. */
import { readFileSync, renameSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { testModule } from './test-module.js';

export class CountingModule {
  /** For AgentSpec.tokenSettings. */
  readonly tokenSettings: { module: string; env: Record<string, string> };
  readonly #countFile: string;
  readonly #faultFile: string;

  constructor(folder: string, hsm: { readonly env: Record<string, string> }) {
    this.#countFile = path.join(folder, 'pkcs11-calls');
    this.#faultFile = path.join(folder, 'pkcs11-faults');
    this.tokenSettings = {
      module: testModule(folder, 'counting-pkcs11.so'),
      env: {
        ...hsm.env,
        KEYAGENT_TEST_COUNT_FILE: this.#countFile,
        KEYAGENT_TEST_FAULT_FILE: this.#faultFile,
      },
    };
  }

  /** How often each function was called and returned, by all processes together. */
  calls(): Map<string, number> {
    return this.#lines('0x\\w+');
  }

  /** How often a call of each function fell asleep (`sleep_ms`), whether or not it woke up. */
  sleeps(): Map<string, number> {
    return this.#lines('sleeps');
  }

  /** Calls of these functions that returned, one after another; a token with one session makes one at a time. */
  order(...functions: string[]): string[] {
    const lines = readFileSync(this.#countFile, 'utf8').matchAll(/^\d+ (\w+) 0x\w+$/gm);
    return [...lines].flatMap(([, name]) => (name !== undefined && functions.includes(name) ? [name] : []));
  }

  /** From the next call on, in words of test/module/faults.h; no rules: everything works. */
  setFaults(...rules: string[]): void {
    // At once: a host that looked while the file was being written would find a token without faults.
    const next = `${this.#faultFile}.next`;
    writeFileSync(next, rules.map((rule) => `${rule}\n`).join(''));
    renameSync(next, this.#faultFile);
  }

  /** From the next call on the token is gone, and with it its sessions. */
  removeToken(...more: string[]): void {
    const gone = ['C_OpenSession', 'C_SignInit close_all=1', 'C_DecryptInit close_all=1', 'C_Login'];
    this.setFaults(
      'C_GetTokenInfo rv=0xe0',
      'C_GetSlotInfo flags&=0xfffffffffffffffe',
      ...gone.map((call) => `${call} rv=0x32`),
      ...more,
    );
  }

  /** PID FUNCTION WHAT */
  #lines(what: string): Map<string, number> {
    const counts = new Map<string, number>();
    const line = new RegExp(`^\\d+ (\\w+) ${what}$`, 'gm');
    for (const [, name] of readFileSync(this.#countFile, 'utf8').matchAll(line)) {
      if (name !== undefined) counts.set(name, (counts.get(name) ?? 0) + 1);
    }
    return counts;
  }
}
