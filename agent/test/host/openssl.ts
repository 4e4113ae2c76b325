/** Keys and certificates by the openssl command, for tokens to hold. */
import { execFileSync } from 'node:child_process';
import { createPrivateKey, generateKeyPairSync, type KeyObject, type X509Certificate } from 'node:crypto';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { X509Certificate as Certificate } from 'node:crypto';

export interface Identity {
  readonly privateKey: KeyObject;
  readonly pem: string;
  readonly certificate: X509Certificate;
}

export interface IdentityOptions {
  readonly issuer?: Identity;
  readonly ca?: boolean;
  readonly days?: number;
  /** A key that exists already. */
  readonly privateKey?: KeyObject;
}

export function newKey(curve = 'P-256'): KeyObject {
  return generateKeyPairSync('ec', { namedCurve: curve }).privateKey;
}

export function newRsaKey(bits = 2048): KeyObject {
  return generateKeyPairSync('rsa', { modulusLength: bits }).privateKey;
}

export function pemOf(key: KeyObject): string {
  return key.export({ format: 'pem', type: 'pkcs8' }).toString();
}

/** A key and its certificate, self-signed unless an issuer is given. */
export function newIdentity(name: string, options: IdentityOptions = {}): Identity {
  const directory = mkdtempSync(join(tmpdir(), 'keyagent-openssl-'));
  const file = (fileName: string, content: string): string => {
    const path = join(directory, fileName);
    writeFileSync(path, content, { mode: 0o600 });
    return path;
  };
  try {
    const privateKey = options.privateKey ?? newKey();
    const pem = pemOf(privateKey);
    const { issuer } = options;
    const issuerArgs =
      issuer === undefined
        ? []
        : ['-CA', file('ca.pem', issuer.certificate.toString()), '-CAkey', file('ca.key', issuer.pem)];
    const constraints = `basicConstraints=critical,CA:${options.ca === true ? 'TRUE' : 'FALSE'}`;
    const key = file('key.pem', pem);
    const subject = ['-subj', `/CN=${name}`, '-days', String(options.days ?? 30), '-addext', constraints];
    const args = ['req', '-x509', '-new', '-key', key, ...subject, ...issuerArgs];
    const certificate = execFileSync('openssl', args, { stdio: ['ignore', 'pipe', 'pipe'] });
    return { privateKey: createPrivateKey(pem), pem, certificate: new Certificate(certificate) };
  } finally {
    rmSync(directory, { recursive: true });
  }
}
