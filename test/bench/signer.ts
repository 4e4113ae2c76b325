/** Runs build/test/bench-signer: clients of one kind that sign as fast as they are answered. */
import path from 'node:path';
import { mustRun } from '../support/command.js';
import { root } from '../support/paths.js';

export interface SignerSpec {
  target: 'keyagent' | 'openssl' | 'pkcs11';
  alg: 'ecdsa-sha256' | 'rsa-pss-sha256' | 'rsa-pkcs1-sha256';
  /** PEM file of the public key: every thousandth signature is verified. */
  spki: string;
  uri?: string;
  socket?: string;
  module?: string;
  token?: string;
  key?: string;
  pinFile?: string;
  env?: Record<string, string>;
}

export interface Load {
  processes: number;
  threads: number;
  /** Milliseconds. */
  ms: number;
}

/** Of the time that is measured; `all` counts from the start to the end. */
export interface Signed {
  operations: number;
  seconds: number;
  medianUs: number;
  p99Us: number;
  maxUs: number;
  /** User and system time of the clients for each operation. */
  cpuUs: number;
  all: number;
  verified: number;
  /** What C_Login took, pkcs11 only; otherwise 0. */
  loginUs: number;
}

export async function runSigner(spec: SignerSpec, { processes, threads, ms }: Load): Promise<Signed> {
  const { env, pinFile, ...rest } = spec;
  const options = { ...rest, 'pin-file': pinFile, processes, threads, ms };
  const args = Object.entries(options).flatMap(([name, value]) =>
    value === undefined ? [] : [`--${name}`, String(value)],
  );
  const { stdout } = await mustRun(path.join(root, 'build/test/bench-signer'), args, {
    timeoutMs: ms + 60_000,
    ...(env && { env }),
  });
  const signed = JSON.parse(stdout) as Signed;
  if (signed.operations === 0) throw new Error(`${spec.target}: not one signature in ${ms} ms`);
  if (signed.verified === 0) throw new Error(`${spec.target}: no signature was verified`);
  return signed;
}

/** Operations a second. */
export function rate({ operations, seconds }: Signed): number {
  return operations / seconds;
}
