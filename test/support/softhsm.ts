/**
 * Real SoftHSM tokens in a folder of the test. Keys are generated inside the token, or imported where a test has to
 * know them; each gets a certificate, on the token and as a file.
 */
import { mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import type { Authority } from './authority.js';
import { mustRun } from './command.js';
import { softHsmModule } from './paths.js';

export type KeyType =
  | 'rsa:2048'
  | 'rsa:3072'
  | 'rsa:4096'
  | 'EC:prime256v1'
  | 'EC:secp384r1'
  | 'EC:secp521r1'
  | 'EC:edwards25519';

export interface KeySpec {
  label: string;
  type: KeyType;
  /** An unencrypted PKCS#8 file to import instead of generating the key in the token. */
  importFrom?: string;
  /** CKA_ALWAYS_AUTHENTICATE. */
  alwaysAuthenticate?: boolean;
}

export interface TokenKey extends KeySpec {
  /** CKA_ID in hex. */
  id: string;
  /** PEM file of the public key. */
  publicKeyFile: string;
  /** PEM file of the certificate, which is on the token as well. */
  certificateFile: string;
}

export class Token {
  readonly #keys = new Map<string, TokenKey>();

  constructor(
    readonly label: string,
    readonly pin: string,
  ) {}

  key(label: string): TokenKey {
    const key = this.#keys.get(label);
    if (key === undefined) throw new Error(`token ${this.label} was made without a key ${label}`);
    return key;
  }

  addKey(key: TokenKey): void {
    this.#keys.set(key.label, key);
  }
}

/** SubjectPublicKeyInfo up to the point (RFC 5480, RFC 8410), and the point's size in bytes. */
const curves: Partial<Record<KeyType, { header: string; pointLen: number }>> = {
  'EC:prime256v1': { header: '3059301306072a8648ce3d020106082a8648ce3d030107034200', pointLen: 65 },
  'EC:secp384r1': { header: '3076301006072a8648ce3d020106052b81040022036200', pointLen: 97 },
  'EC:secp521r1': { header: '30819b301006072a8648ce3d020106052b8104002303818600', pointLen: 133 },
  'EC:edwards25519': { header: '302a300506032b6570032100', pointLen: 32 },
};

export class SoftHsm {
  /** For the environment of whoever loads the module. */
  readonly env: { SOFTHSM2_CONF: string };
  /** Holds the tokens. */
  readonly folder: string;
  readonly #authority: Authority;

  /** @param folder an existing folder of the test's own */
  constructor(folder: string, authority: Authority) {
    this.folder = path.join(folder, 'softhsm');
    this.#authority = authority;
    mkdirSync(path.join(this.folder, 'tokens'), { recursive: true });
    const configuration = path.join(this.folder, 'softhsm2.conf');
    writeFileSync(
      configuration,
      `directories.tokendir = ${this.folder}/tokens\nobjectstore.backend = file\nlog.level = ERROR\n`,
    );
    this.env = { SOFTHSM2_CONF: configuration };
  }

  async makeToken(label: string, keys: readonly KeySpec[], pin = '7412-pin'): Promise<Token> {
    await this.initToken(label, pin);
    const token = new Token(label, pin);
    for (const [index, spec] of keys.entries()) token.addKey(await this.#makeKey(token, spec, index + 1));
    return token;
  }

  /** An empty token. */
  async initToken(label: string, pin: string): Promise<void> {
    const pins = ['--so-pin', 'so-pin-9356', '--pin', pin];
    await this.#softHsmUtil('--init-token', '--free', '--label', label, ...pins);
  }

  /** Runs pkcs11-tool on a token, logged in. */
  async pkcs11Tool(token: Pick<Token, 'label' | 'pin'>, ...args: string[]): Promise<string> {
    const login = ['--module', softHsmModule, '--token-label', token.label, '--login', '--pin', token.pin];
    return (await mustRun('pkcs11-tool', [...login, ...args], { env: this.env })).stdout;
  }

  /** A certificate that belongs to no key of the token. */
  async writeCertificate(token: Token, file: string, label: string): Promise<void> {
    const der = path.join(this.folder, 'object.der');
    await mustRun('openssl', ['x509', '-in', file, '-outform', 'DER', '-out', der]);
    await this.pkcs11Tool(token, '--write-object', der, '--type', 'cert', '--label', label, '--id', 'ff01');
  }

  async #makeKey(token: Token, spec: KeySpec, number: number): Promise<TokenKey> {
    const id = number.toString(16).padStart(4, 'a0');
    const name = ['--label', spec.label, '--id', id];
    if (spec.importFrom === undefined) {
      const more = spec.alwaysAuthenticate === true ? ['--always-auth'] : [];
      await this.pkcs11Tool(token, '--keypairgen', '--key-type', spec.type, ...name, ...more);
    } else {
      await this.#softHsmUtil(
        '--import',
        spec.importFrom,
        '--token',
        token.label,
        '--pin',
        token.pin,
        ...name,
      );
    }
    const publicKeyFile = path.join(this.folder, `${token.label}-${spec.label}.pub`);
    const der = path.join(this.folder, 'object.der');
    if (curves[spec.type] === undefined) {
      await this.pkcs11Tool(token, '--read-object', '--type', 'pubkey', '--id', id, '--output-file', der);
    } else {
      writeFileSync(der, await this.#pointSpki(token, spec.type, id));
    }
    await mustRun('openssl', ['pkey', '-pubin', '-inform', 'DER', '-in', der, '-out', publicKeyFile]);
    const certificateFile = await this.#authority.certify(`${token.label}-${spec.label}`, publicKeyFile);
    await mustRun('openssl', ['x509', '-in', certificateFile, '-outform', 'DER', '-out', der]);
    await this.pkcs11Tool(token, '--write-object', der, '--type', 'cert', ...name);
    return { ...spec, id, publicKeyFile, certificateFile };
  }

  /** pkcs11-tool 0.23 writes no file for P-384 and Ed25519, but it prints the point. */
  async #pointSpki(token: Token, type: KeyType, id: string): Promise<Buffer> {
    const { header, pointLen } = curves[type] ?? { header: '', pointLen: 0 };
    const listing = await this.pkcs11Tool(token, '--list-objects', '--type', 'pubkey');
    const object = listing.split('Public Key Object').find((text) => text.includes(`ID:         ${id}\n`));
    const point = /EC_POINT: +([0-9a-f]+)/.exec(object ?? '')?.[1];
    if (point === undefined) throw new Error(`pkcs11-tool printed no EC_POINT:\n${listing}`);
    // CKA_EC_POINT is an OCTET STRING, or the bare point for an imported Ed25519 key: the point comes last either way.
    return Buffer.from(header + point.slice(-2 * pointLen), 'hex');
  }

  async #softHsmUtil(...args: string[]): Promise<void> {
    await mustRun('softhsm2-util', args, { env: this.env });
  }
}

/** An unencrypted PKCS#8 key that the test knows, to import or to give to a server as a file. */
export async function makeKeyFile(file: string, type: 'rsa:2048' | 'EC:prime256v1'): Promise<string> {
  const options =
    type === 'rsa:2048'
      ? ['RSA', '-pkeyopt', 'rsa_keygen_bits:2048']
      : ['EC', '-pkeyopt', 'ec_paramgen_curve:P-256'];
  await mustRun('openssl', ['genpkey', '-algorithm', ...options, '-out', file]);
  return readFileSync(file, 'utf8');
}
