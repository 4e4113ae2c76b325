/** The cells of the matrix: which server shows which key with which handshake, and what a handshake must look like. */
import { writeFileSync } from 'node:fs';
import { connectionLost, type Target } from '../support/handshakes.js';
import type { KeySpec } from '../support/softhsm.js';
import { kindNames, type KindName } from './fleet.js';

export const keys = {
  'RSA-2048': { label: 'rsa2048', type: 'rsa:2048' },
  'RSA-4096': { label: 'rsa4096', type: 'rsa:4096' },
  'P-256': { label: 'p256', type: 'EC:prime256v1' },
  'P-384': { label: 'p384', type: 'EC:secp384r1' },
  'P-521': { label: 'p521', type: 'EC:secp521r1' },
  Ed25519: { label: 'ed25519', type: 'EC:edwards25519' },
} as const satisfies Record<string, KeySpec>;

export type KeyName = keyof typeof keys;
export const keyNames = Object.keys(keys) as KeyName[];

/** The key whose endpoint demands a certificate of the client. */
export const mutualKey: KeySpec = { label: 'mutual', type: 'EC:prime256v1' };

export interface Mode {
  tls: NonNullable<Target['tls']>;
  /** What protocol and cipher suite must be. */
  session: RegExp;
}

const tls13 = { minVersion: 'TLSv1.3', maxVersion: 'TLSv1.3' } as const;
const tls12 = { minVersion: 'TLSv1.2', maxVersion: 'TLSv1.2' } as const;

export const modes = {
  'TLS 1.3': { tls: tls13, session: /^TLSv1\.3 TLS_/ },
  'TLS 1.2 ECDHE': {
    tls: { ...tls12, ciphers: 'ECDHE-RSA-AES128-GCM-SHA256:ECDHE-ECDSA-AES128-GCM-SHA256' },
    session: /^TLSv1\.2 TLS_ECDHE_(?:RSA|ECDSA)_/,
  },
  'TLS 1.2 RSA': { tls: { ...tls12, ciphers: 'AES128-GCM-SHA256' }, session: /^TLSv1\.2 TLS_RSA_/ },
} as const satisfies Record<string, Mode>;

export type ModeName = keyof typeof modes;

/** Of each cell. */
export const load = { count: 200, concurrency: 8 };

export interface Cell {
  server: KindName | 'curl';
  key: KeyName;
  mode: ModeName | MutualModeName;
}

/** Keys and handshakes of a server: every key where the server is made for many, else one of each kind. */
export function modesOf(server: KindName): { key: KeyName; mode: ModeName }[] {
  const all = /^(?:Apache|nginx)/.test(server);
  const shown = keyNames.filter((key) => all || key === 'RSA-2048' || key === 'P-256');
  return shown.flatMap((key) =>
    (Object.keys(modes) as ModeName[])
      .filter((mode) => mode !== 'TLS 1.2 RSA' || key.startsWith('RSA'))
      .map((mode) => ({ key, mode })),
  );
}

/** Both sides show a certificate. */
export const mutualModes = {
  'TLS 1.3 mutual': modes['TLS 1.3'],
  'TLS 1.2 mutual': modes['TLS 1.2 ECDHE'],
} as const satisfies Record<string, Mode>;

export type MutualModeName = keyof typeof mutualModes;
export const mutualModeNames = Object.keys(mutualModes) as MutualModeName[];

export function cells(): Cell[] {
  const servers = kindNames.flatMap((server) => [
    ...modesOf(server).map(({ key, mode }) => ({ server, key, mode })),
    ...mutualModeNames.map((mode) => ({ server, key: 'P-256' as const, mode })),
  ]);
  const client = (['RSA-2048', 'P-256'] as const).flatMap((key) =>
    mutualModeNames.map((mode) => ({ server: 'curl' as const, key, mode })),
  );
  return [...servers, ...client];
}

/** What happens while clients connect. */
export const reloads = 'the server reloads three times';
export const agentRestarts = 'the agent restarts';

/** Cells that are not run, each with the missing package or the bug that stands in its way. */
export const skipped: readonly (Cell & { because: string })[] = [];

/** Failures that a server has with key files as well: not counted against its keys, but shown. */
export const knownFailures: readonly { server: KindName; event: string; error: RegExp; because: string }[] = [
  {
    server: 'stunnel',
    event: reloads,
    error: connectionLost,
    because:
      'stunnel closes its listening sockets on SIGHUP and opens them again: what waited in them is reset',
  },
];

/** The words with which each program demands a certificate of the client. */
export function demandClient(server: KindName, rootFile: string): string[] {
  switch (server) {
    case 'nginx':
      return ['ssl_verify_client on;', `ssl_client_certificate ${rootFile};`, 'ssl_verify_depth 2;'];
    case 'haproxy':
      return ['verify required', `ca-file ${rootFile}`];
    case 'stunnel':
      return ['verifyChain = yes', `CAfile = ${rootFile}`];
    case 'PostgreSQL':
      return [`ssl_ca_file = '${rootFile}'`, `hba_file = '${hbaFile(rootFile)}'`];
    case 'openssl s_server':
      return ['-Verify', '2', '-verify_return_error', '-CAfile', rootFile];
    case 'Apache event':
    case 'Apache worker':
    case 'Apache prefork':
      return ['SSLVerifyClient require', 'SSLVerifyDepth 2', `SSLCACertificateFile ${rootFile}`];
  }
}

/** Of PostgreSQL's own, which lets clients in without a certificate, with one word more. */
function hbaFile(rootFile: string): string {
  const file = `${rootFile}.hba`;
  writeFileSync(file, 'hostssl all all 127.0.0.1/32 scram-sha-256 clientcert=verify-ca\n');
  return file;
}
