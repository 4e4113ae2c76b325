/** The real thing: OpenSSL, run as the user, loads a key by its URI and signs a message of TLS with it. */
import { randomBytes } from 'node:crypto';
import { chmodSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import type { ErrorCode } from '@keyagent/protocol';
import { visible } from '../../visible.js';
import type { Account } from '../account.js';
import { runAs } from './as-user.js';
import { note, ok, problem, type Check } from './check.js';
import type { KeyUse } from './rules.js';
import type { ServerEnvironment } from './server-environment.js';

export interface Trial {
  readonly user: string;
  readonly account: Account;
  readonly uri: string;
  readonly env: ServerEnvironment;
  /** undefined: the agent was not asked. */
  readonly use: KeyUse | undefined;
}

export function tryKey({ user, account, uri, env, use }: Trial): Check[] {
  const loaded = runAs(account, ['openssl', 'pkey', '-pubout', '-in', uri], env);
  if (loaded.status !== 0) return [failed('load key', `${user} cannot load ${uri}`, loaded.stderr)];
  const load = ok('load key', `${user} loads ${uri} through OpenSSL`);
  if (use?.signs !== 'yes') return [load, note('sign', 'not tried: no rule is known that allows it')];
  return [load, withMessage(tlsMessage(use), (file) => sign({ user, account, uri, env, use }, file))];
}

function sign({ user, account, uri, env, use }: Trial, file: string): Check {
  const { status, stderr } = runAs(
    account,
    [
      'openssl',
      'pkeyutl',
      '-sign',
      '-rawin',
      '-inkey',
      uri,
      '-in',
      file,
      '-out',
      '/dev/null',
      ...options(use),
    ],
    env,
  );
  return status === 0
    ? ok('sign', `${user} signs a message of TLS with it`)
    : failed('sign', `${user} cannot sign with ${uri}`, stderr);
}

function options(use: KeyUse | undefined): string[] {
  if (use?.mechanism === 'ed25519') return [];
  const pss = ['-pkeyopt', 'rsa_padding_mode:pss', '-pkeyopt', 'rsa_pss_saltlen:digest'];
  return ['-digest', 'sha256', ...(use?.mechanism === 'rsa-pss' ? pss : [])];
}

/** Fits a purpose, and is of no use to anybody: its transcript hash or randoms are those of no handshake. */
export function tlsMessage({ mechanism, purpose }: KeyUse): Buffer {
  // RFC 8422 5.4, ServerKeyExchange: two randoms, named curve x25519, its public value.
  if (mechanism === 'rsa-pkcs1')
    return Buffer.concat([randomBytes(64), Buffer.of(3, 0, 29, 32), randomBytes(32)]);
  // RFC 8446 4.4.3, CertificateVerify.
  const side = purpose === 'tls-client' ? 'client' : 'server';
  return Buffer.concat([
    Buffer.from(`${' '.repeat(64)}TLS 1.3, ${side} CertificateVerify\0`),
    randomBytes(32),
  ]);
}

/** openssl(1) wants to know a message's length before it reads it. Root's TMPDIR may be no place for others. */
function withMessage<T>(message: Buffer, work: (file: string) => T): T {
  const folder = mkdtempSync('/tmp/keyagent-doctor-');
  try {
    const file = path.join(folder, 'message');
    writeFileSync(file, message, { mode: 0o644 });
    chmodSync(folder, 0o755);
    return work(file);
  } finally {
    rmSync(folder, { recursive: true });
  }
}

const codes: Readonly<Record<string, ErrorCode>> = {
  LOCKED: 'LOCKED',
  DENIED: 'DENIED',
  'NOT FOUND': 'NOT_FOUND',
  'AGENT UNAVAILABLE': 'UNAVAILABLE',
};

/** An error of libcrypto: "pid:error:number:library:function:reason:file:line:data". Ours says what to do in its data. */
function failed(name: string, says: string, stderr: string): Check {
  const [, reason = '', data = ''] =
    /:error:[^:]*:keyagent:[^:]*:([^:]*):[^:]*:\d+:(.*)$/m.exec(stderr) ?? [];
  if (reason === '')
    return problem(name, 'CONFIGURATION', `${says}: the provider was not asked`, 'mend what is told above');
  return problem(name, codes[reason] ?? 'CONFIGURATION', `${says}: ${reason}`, visible(data));
}
