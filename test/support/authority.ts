/**
 * A certificate authority of openssl's making: a root that clients trust and a real intermediate that issues. It
 * certifies public keys, so a key that never left its token needs no signing request.
 */
import { mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { mustRun } from './command.js';

const caExtensions = 'basicConstraints=critical,CA:TRUE\nkeyUsage=critical,keyCertSign,cRLSign\n';
const leafExtensions =
  'basicConstraints=critical,CA:FALSE\nsubjectAltName=DNS:localhost,IP:127.0.0.1\nextendedKeyUsage=serverAuth,clientAuth\n';

export interface Authority {
  /** What a client trusts, PEM. */
  root: string;
  /** The file that it is in. */
  rootFile: string;
  /** File with the intermediate, for SSLCertificateChainFile. */
  chainFile: string;
  /** Certifies a public key for localhost, as server and as client; answers the file of the certificate, PEM. */
  certify(name: string, publicKeyFile: string): Promise<string>;
}

export async function makeAuthority(folder: string): Promise<Authority> {
  const directory = path.join(folder, 'ca');
  mkdirSync(directory);
  const file = (name: string) => path.join(directory, name);
  writeFileSync(file('ca.ext'), caExtensions);
  writeFileSync(file('leaf.ext'), leafExtensions);
  const issue = (subject: string, key: string, issuer: string, extensions: string, out: string) =>
    mustRun('openssl', [
      ...['x509', '-new', '-subj', `/CN=${subject}`, '-days', '2', '-force_pubkey', key],
      ...['-CA', file(`${issuer}.pem`), '-CAkey', file(`${issuer}.key`), '-extfile', extensions, '-out', out],
    ]);
  for (const name of ['root', 'intermediate']) {
    await mustRun('openssl', [
      'genpkey',
      '-algorithm',
      'EC',
      '-pkeyopt',
      'ec_paramgen_curve:P-256',
      '-out',
      file(`${name}.key`),
    ]);
    await mustRun('openssl', ['pkey', '-in', file(`${name}.key`), '-pubout', '-out', file(`${name}.pub`)]);
  }
  await mustRun('openssl', [
    ...['req', '-x509', '-key', file('root.key'), '-subj', '/CN=keyagent test root', '-days', '2'],
    ...['-addext', 'keyUsage=critical,keyCertSign,cRLSign', '-out', file('root.pem')],
  ]);
  await issue(
    'keyagent test intermediate',
    file('intermediate.pub'),
    'root',
    file('ca.ext'),
    file('intermediate.pem'),
  );
  return {
    rootFile: file('root.pem'),
    root: readFileSync(file('root.pem'), 'utf8'),
    chainFile: file('intermediate.pem'),
    async certify(name, publicKeyFile) {
      const out = file(`${name}.pem`);
      await issue('localhost', publicKeyFile, 'intermediate', file('leaf.ext'), out);
      return out;
    },
  };
}
