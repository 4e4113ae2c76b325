/**
 * A PKCS#11 token of another kind: Debian's tpm2-pkcs11 on a TPM in software (swtpm), with the resource manager
 * (tpm2-abrmd) that the kernel would have for a real one. Keys are generated in the TPM.
 */
import { mkdirSync, readFileSync } from 'node:fs';
import path from 'node:path';
import type { Cleanup } from './cleanup.js';
import { mustRun } from './command.js';
import { Daemon } from './daemon.js';
import { SessionBus } from './session-bus.js';
import type { KeySpec } from './softhsm.js';
import { waitFor } from './wait.js';

export const tpmModule = '/usr/lib/x86_64-linux-gnu/libtpm2_pkcs11.so.1';

export class Tpm {
  private constructor(
    /** Holds the store of tpm2-pkcs11. */
    readonly folder: string,
    /** For the environment of whoever loads the module. */
    readonly env: Record<string, string>,
  ) {}

  /** @param folder an existing folder of the test's own */
  static async start(cleanup: Cleanup, folder: string): Promise<Tpm> {
    const home = path.join(folder, 'tpm');
    const store = path.join(home, 'store');
    for (const each of [home, store, path.join(home, 'state')]) mkdirSync(each);
    const socket = path.join(home, 'sock');
    // The name of the second socket is what tpm2-tss expects.
    const swtpm = new Daemon(cleanup, {
      command: 'swtpm',
      args: [
        ...['socket', '--tpm2', '--flags', 'startup-clear', '--tpmstate', `dir=${home}/state`],
        ...['--server', `type=unixio,path=${socket}`, '--ctrl', `type=unixio,path=${socket}.ctrl`],
      ],
      logFile: path.join(home, 'swtpm.log'),
    });
    const bus = await SessionBus.start(cleanup, home);
    swtpm.mustRun();
    const manager = new Daemon(cleanup, {
      command: 'tpm2-abrmd',
      args: ['--session', '--allow-root', `--tcti=swtpm:path=${socket}`],
      env: bus.env,
      logFile: path.join(home, 'tpm2-abrmd.log'),
    });
    await waitFor('the resource manager of the TPM is on the bus', () => {
      manager.mustRun();
      return bus.has('com.intel.tss2.Tabrmd');
    });
    const env = { ...bus.env, TPM2_PKCS11_STORE: store, TPM2_PKCS11_TCTI: 'tabrmd:bus_type=session' };
    return new Tpm(store, env);
  }

  async makeToken(label: string, keys: readonly KeySpec[], pin: string): Promise<void> {
    const soPin = 'so-pin-9356';
    await this.#tool('--init-token', '--slot-index', '0', '--label', label, '--so-pin', soPin);
    const token = ['--token-label', label, '--login'];
    await this.#tool(...token, '--login-type', 'so', '--so-pin', soPin, '--init-pin', '--new-pin', pin);
    for (const [index, { label: name, type, alwaysAuthenticate }] of keys.entries()) {
      const id = (index + 1).toString(16).padStart(4, 'a0');
      const more = alwaysAuthenticate === true ? ['--always-auth'] : [];
      const key = ['--keypairgen', '--key-type', type, '--label', name, '--id', id, ...more];
      await this.#tool(...token, '--pin', pin, ...key);
    }
  }

  /** SubjectPublicKeyInfo as the token itself shows it, DER. */
  async publicKey(token: string, label: string): Promise<Buffer> {
    const file = path.join(this.folder, `${label}.der`);
    await this.#tool(
      '--token-label',
      token,
      '--read-object',
      '--type',
      'pubkey',
      '--label',
      label,
      '-o',
      file,
    );
    return readFileSync(file);
  }

  async #tool(...args: string[]): Promise<void> {
    await mustRun('pkcs11-tool', ['--module', tpmModule, ...args], { env: this.env });
  }
}
