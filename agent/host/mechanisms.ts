/**
 * What a token can do: C_GetMechanismList and C_GetMechanismInfo read once, and what a self-test found refused.
 * Input: a mechanism and a hash. Output: the route - the token's own padding, or the host's around raw RSA.
 */
import type { Handle, PKCS11 } from 'pkcs11js';
import { mechanismsOf, type HashName, type KeyAlgorithm, type Mechanism } from '@keyagent/protocol';

/** PKCS#11 v2.40 mechanisms; EDDSA from v3.0. */
export const ckm = {
  rsaPkcs: 0x0001,
  rsaX509: 0x0003,
  rsaPkcsOaep: 0x0009,
  rsaPkcsPss: 0x000d,
  ecdsa: 0x1041,
  eddsa: 0x1057,
} as const;

/** CKM_ and CKG_MGF1_ of each hash. */
export const hashMechanisms = {
  sha1: { ckm: 0x220, mgf: 1 },
  sha256: { ckm: 0x250, mgf: 2 },
  sha384: { ckm: 0x260, mgf: 3 },
  sha512: { ckm: 0x270, mgf: 4 },
} as const satisfies Record<HashName, { ckm: number; mgf: number }>;

/** As native.signInit takes it. */
export function mechanismBytes(type: number, ...parameter: number[]): Buffer {
  return Buffer.from(BigUint64Array.from([type, ...parameter], BigInt).buffer);
}

/** Those that have no parameter, made once. */
export const plainMechanisms = {
  rsaPkcs: mechanismBytes(ckm.rsaPkcs),
  rsaX509: mechanismBytes(ckm.rsaX509),
  ecdsa: mechanismBytes(ckm.ecdsa),
  eddsa: mechanismBytes(ckm.eddsa),
};

const ckf = { decrypt: 0x200, sign: 0x800 } as const;

/** token: its own padding. host: padded here, with CKM_RSA_X_509 inside. undefined: impossible. */
export type Route = 'token' | 'host' | undefined;

export const signHashes = ['sha256', 'sha384', 'sha512'] as const satisfies readonly HashName[];
export const oaepHashes = ['sha1', 'sha256', 'sha384', 'sha512'] as const satisfies readonly HashName[];

export class TokenMechanisms {
  readonly #flags: ReadonlyMap<number, number>;
  readonly #refused = new Set<string>();

  constructor(flags: ReadonlyMap<number, number>) {
    this.#flags = flags;
  }

  static read(library: PKCS11, slot: Handle): TokenMechanisms {
    const flags = new Map<number, number>();
    const listed = new Set(library.C_GetMechanismList(slot));
    for (const mechanism of Object.values(ckm)) {
      if (listed.has(mechanism)) flags.set(mechanism, library.C_GetMechanismInfo(slot, mechanism).flags);
    }
    return new TokenMechanisms(flags);
  }

  /** The token lists the mechanism but not for this hash. */
  refuse(mechanism: Mechanism, hash: HashName): void {
    this.#refused.add(`${mechanism} ${hash}`);
  }

  route(mechanism: Mechanism, hash?: HashName): Route {
    switch (mechanism) {
      case 'ecdsa':
        return this.#can(ckm.ecdsa, ckf.sign) ? 'token' : undefined;
      case 'ed25519':
        return this.#can(ckm.eddsa, ckf.sign) ? 'token' : undefined;
      case 'rsa-pkcs1':
        return this.#ownOrRaw(ckm.rsaPkcs, ckf.sign);
      case 'rsa-pss':
        return this.#ownOrRaw(ckm.rsaPkcsPss, ckf.sign, this.#refused.has(`${mechanism} ${hash}`));
      case 'rsa-oaep':
        return this.#ownOrRaw(ckm.rsaPkcsOaep, ckf.decrypt, this.#refused.has(`${mechanism} ${hash}`));
      case 'rsa-pkcs1-tls':
        // A token's own CKM_RSA_PKCS tells good from bad padding by its return value and time.
        return this.#can(ckm.rsaX509, ckf.decrypt) ? 'host' : this.#ownOrRaw(ckm.rsaPkcs, ckf.decrypt);
    }
  }

  /** All that a key can do here, and the part of it that the host completes for some or every hash. */
  of(
    algorithm: KeyAlgorithm,
    may: { sign: boolean; decrypt: boolean },
  ): { mechanisms: Mechanism[]; completed: Mechanism[] } {
    const mechanisms: Mechanism[] = [];
    const completed: Mechanism[] = [];
    for (const mechanism of mechanismsOf(algorithm)) {
      const isDecrypt = mechanism === 'rsa-oaep' || mechanism === 'rsa-pkcs1-tls';
      if (isDecrypt ? !may.decrypt : !may.sign) continue;
      const routes = (isDecrypt ? oaepHashes : signHashes).map((hash) => this.route(mechanism, hash));
      if (routes.some((route) => route !== undefined)) mechanisms.push(mechanism);
      if (routes.includes('host')) completed.push(mechanism);
    }
    return { mechanisms, completed };
  }

  #can(mechanism: number, flag: number): boolean {
    return ((this.#flags.get(mechanism) ?? 0) & flag) !== 0;
  }

  #ownOrRaw(own: number, flag: number, refused = false): Route {
    if (!refused && this.#can(own, flag)) return 'token';
    return this.#can(ckm.rsaX509, flag) ? 'host' : undefined;
  }
}
