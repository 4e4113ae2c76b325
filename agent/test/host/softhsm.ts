/** Throw-away SoftHSM tokens for tests: a directory of their own, keys and certificates by the usual tools. */
import { execFileSync } from 'node:child_process';
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

export const softhsmModule = '/usr/lib/softhsm/libsofthsm2.so';
export const pin = '1234';
const soPin = '12345678';

export class SoftHsm {
  readonly directory: string;
  readonly env: { SOFTHSM2_CONF: string };

  constructor() {
    this.directory = mkdtempSync(join(tmpdir(), 'keyagent-softhsm-'));
    mkdirSync(join(this.directory, 'tokens'));
    const conf = join(this.directory, 'softhsm2.conf');
    const tokens = join(this.directory, 'tokens');
    writeFileSync(conf, `directories.tokendir = ${tokens}\nobjectstore.backend = file\nlog.level = ERROR\n`);
    this.env = { SOFTHSM2_CONF: conf };
  }

  initToken(label: string, userPin = pin): void {
    this.#run('softhsm2-util', [
      '--init-token',
      '--free',
      '--label',
      label,
      '--so-pin',
      soPin,
      '--pin',
      userPin,
    ]);
  }

  /** @param type as pkcs11-tool takes it: rsa:2048, EC:prime256v1, EC:edwards25519, ... */
  generate(token: string, type: string, id: string, label: string): void {
    this.tool(token, ['--keypairgen', '--key-type', type, '--id', id, '--label', label]);
  }

  /** Imports a PKCS#8 private key from a PEM. */
  importKey(token: string, pem: string, id: string, label: string): void {
    const file = this.file(`${label}.key.pem`, pem);
    const args = ['--import', file, '--token', token, '--label', label, '--id', id, '--pin', pin];
    this.#run('softhsm2-util', args);
  }

  writeCertificate(token: string, der: Uint8Array, id: string | undefined, label: string): void {
    const file = this.file(`${label}-${id ?? 'none'}.der`, der);
    const idArgs = id === undefined ? [] : ['--id', id];
    this.tool(token, ['--write-object', file, '--type', 'cert', '--label', label, ...idArgs]);
  }

  deleteObject(token: string, type: 'pubkey' | 'cert' | 'privkey', id: string): void {
    this.tool(token, ['--delete-object', '--type', type, '--id', id]);
  }

  /** pkcs11-tool, logged in. */
  tool(token: string, args: string[]): void {
    this.#run('pkcs11-tool', [
      '--module',
      softhsmModule,
      '--token-label',
      token,
      '--login',
      '--pin',
      pin,
      ...args,
    ]);
  }

  file(name: string, content: string | Uint8Array): string {
    const path = join(this.directory, name);
    writeFileSync(path, content);
    return path;
  }

  remove(): void {
    rmSync(this.directory, { recursive: true, force: true });
  }

  #run(command: string, args: string[]): void {
    execFileSync(command, args, {
      env: { ...process.env, ...this.env },
      stdio: ['ignore', 'ignore', 'pipe'],
    });
  }
}
