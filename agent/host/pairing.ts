/**
 * Which public data belongs to which private key. Pairs by CKA_ID or label, then asks for proof: anybody can write
 * a public object or a certificate into a token, under any CKA_ID. Calls no token itself.
 */
import type { HostCertificate, HostKey, UnusableKey } from './host-protocol.js';
import { chainOf } from './certificates.js';
import type { PrivateObject } from './key.js';
import { UnusableKeyError, type PublicKey } from './public-key.js';
import type { TokenObjects } from './token-objects.js';

export interface Paired {
  readonly object: PrivateObject;
  readonly publicKey: PublicKey;
  readonly certificates: HostCertificate[];
  readonly state: HostKey['state'];
}

/** Says whether a public key belongs to the private one; undefined where the token allows no proof. */
export type Proof = (object: PrivateObject, publicKey: PublicKey) => Promise<boolean | undefined>;

interface Named {
  readonly label: string;
  readonly id: Uint8Array;
}

export async function pair(
  object: PrivateObject,
  all: TokenObjects,
  prove: Proof,
): Promise<Paired | UnusableKey> {
  const candidates = candidatesOf(object, all);
  if (candidates.length === 0) {
    if (object.own instanceof UnusableKeyError) return unusable(object, all);
    candidates.push(object.own);
  }
  let unproven: PublicKey | undefined;
  for (const publicKey of candidates) {
    const proven = await prove(object, publicKey);
    if (proven === true) {
      return { object, publicKey, certificates: certificatesOf(object, publicKey, all), state: 'verified' };
    }
    if (proven === undefined) unproven ??= publicKey;
  }
  const publicKey = unproven ?? candidates[0];
  if (publicKey === undefined) return unusable(object, all);
  if (unproven === undefined) return { object, publicKey, certificates: [], state: 'mismatch' };
  return { object, publicKey, certificates: certificatesOf(object, publicKey, all), state: 'unverified' };
}

/** Public keys under the private key's name, each once; public objects first, they are what key generation leaves. */
function candidatesOf(object: PrivateObject, all: TokenObjects): PublicKey[] {
  const found: PublicKey[] = [];
  for (const candidate of [...all.publicKeys, ...all.certificates]) {
    const { publicKey } = candidate;
    if (
      publicKey === undefined ||
      publicKey instanceof UnusableKeyError ||
      !isNamedAlike(object, candidate)
    ) {
      continue;
    }
    if (!found.some(({ spki }) => spki.equals(publicKey.spki))) found.push(publicKey);
  }
  return found;
}

/** By CKA_ID; by label where either has no CKA_ID. */
function isNamedAlike(a: Named, b: Named): boolean {
  if (a.id.length > 0 && b.id.length > 0) return Buffer.compare(a.id, b.id) === 0;
  return a.label !== '' && a.label === b.label;
}

/** The proven key's certificates: under its name, else nameless ones with the same public key. */
function certificatesOf(named: Named, { spki }: PublicKey, all: TokenObjects): HostCertificate[] {
  const same = all.certificates.filter(({ publicKey }) => publicKey?.spki.equals(spki) === true);
  const alike = same.filter((certificate) => isNamedAlike(named, certificate));
  return chainOf(alike.length > 0 ? alike : same.filter(({ id }) => id.length === 0), all.certificates);
}

function unusable(object: PrivateObject, all: TokenObjects): UnusableKey {
  const { label, id, own } = object;
  const broken = all.publicKeys.find(
    (candidate) => candidate.publicKey instanceof UnusableKeyError && isNamedAlike(object, candidate),
  )?.publicKey;
  const cause = broken instanceof UnusableKeyError ? broken : own;
  const reason = cause instanceof UnusableKeyError ? cause.message : 'it has no public key';
  return {
    label,
    id,
    reason: `${reason}; write its public key or certificate into the token under the same CKA_ID`,
  };
}

/** While nobody is logged in: what public objects and certificates show, one entry for each name and public key. */
export function unverifiedKeys(
  all: TokenObjects,
): (Named & { publicKey: PublicKey; certificates: HostCertificate[] })[] {
  const keys: (Named & { publicKey: PublicKey; certificates: HostCertificate[] })[] = [];
  // An authority's certificate without a public key object is there to issue others.
  const leaves = all.certificates.filter(({ x509 }) => !x509.ca);
  for (const { label, id, publicKey } of [...all.publicKeys, ...leaves]) {
    if (publicKey === undefined || publicKey instanceof UnusableKeyError) continue;
    const isKnown = keys.some(
      (key) => key.publicKey.spki.equals(publicKey.spki) && isNamedAlike(key, { label, id }),
    );
    if (!isKnown) {
      keys.push({ label, id, publicKey, certificates: certificatesOf({ label, id }, publicKey, all) });
    }
  }
  return keys;
}
