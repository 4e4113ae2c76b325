/** A key as the agent serves it: its public data and what selects it. Made from what a host or the cache knows. */
import {
  AgentError,
  formatPkcs11Uri,
  matchesPkcs11Uri,
  type KeyAlgorithm,
  type KeyState,
  type Mechanism,
  type Pkcs11Attributes,
  type Pkcs11Uri,
} from '@keyagent/protocol';
import type { HostKey, TokenInfo } from '../host/host-protocol.js';

export interface ServedKey {
  /** Name of the token in the configuration. */
  readonly token: string;
  /** Which key of which host: the same on every host of a token, unlike a ref. */
  readonly identity: string;
  /** Selects this key and no other: token, serial, label and id. */
  readonly uri: string;
  /** What rules and selectors are matched against; type is private. */
  readonly attributes: Pkcs11Attributes;
  /** The same for its own certificate, if it has one. */
  readonly certificateAttributes: Pkcs11Attributes | undefined;
  readonly algorithm: KeyAlgorithm;
  readonly bits: number;
  /** SubjectPublicKeyInfo, DER. */
  readonly spki: Uint8Array;
  /** DER, own certificate first. */
  readonly certificates: readonly Uint8Array[];
  readonly state: KeyState;
  readonly mechanisms: readonly Mechanism[];
  readonly completed: readonly Mechanism[];
  readonly alwaysAuthenticate: boolean;
}

export function serveKey(token: string, info: TokenInfo, key: HostKey): ServedKey {
  const place = tokenAttributes(info);
  const own = key.certificates[0];
  return {
    token,
    identity: keyIdentity(key),
    uri: formatPkcs11Uri({ token: info.label, serial: info.serial, object: key.label, id: key.id }),
    attributes: { ...place, object: key.label, id: key.id, type: 'private' },
    certificateAttributes:
      own === undefined ? undefined : { ...place, object: own.label, id: own.id, type: 'cert' },
    algorithm: key.algorithm,
    bits: key.bits,
    spki: key.spki,
    certificates: key.certificates.map(({ der }) => der),
    state: key.state,
    mechanisms: key.mechanisms,
    completed: key.completed,
    alwaysAuthenticate: key.alwaysAuthenticate,
  };
}

/** type=cert selects a key by its certificate, type=public and no type by the key's own attributes. */
export function selects(uri: Pkcs11Uri, key: ServedKey): boolean {
  if (matchesPkcs11Uri(uri, key.attributes)) return true;
  if (matchesPkcs11Uri(uri, { ...key.attributes, type: 'public' })) return true;
  return key.certificateAttributes !== undefined && matchesPkcs11Uri(uri, key.certificateAttributes);
}

/** Label, id and public key: what tells keys apart wherever they are looked at. */
export function keyIdentity({ label, id, spki }: Pick<HostKey, 'label' | 'id' | 'spki'>): string {
  return [label, Buffer.from(id).toString('hex'), Buffer.from(spki).toString('base64')].join('\0');
}

/** Throws when the key cannot do this mechanism at all, or must not be used. */
export function requireUsable(key: ServedKey, mechanism: Mechanism): void {
  if (key.state === 'mismatch') {
    throw new AgentError(
      'KEY_MISMATCH',
      `the public key or certificate of ${key.uri} belongs to another private key; replace it in the token, then unlock`,
    );
  }
  if (!key.mechanisms.includes(mechanism) && !key.completed.includes(mechanism)) {
    const can = [...key.mechanisms, ...key.completed].join(', ');
    throw new AgentError(
      'MECHANISM',
      `${key.uri} cannot do ${mechanism}; it can do: ${can === '' ? 'nothing' : can}`,
    );
  }
}

/** What a URI is matched against that names a token. */
export function tokenAttributes(info: TokenInfo): Pkcs11Attributes {
  return {
    token: info.label,
    serial: info.serial,
    manufacturer: info.manufacturer,
    model: info.model,
    libraryManufacturer: info.libraryManufacturer,
    libraryDescription: info.libraryDescription,
    libraryVersion: info.libraryVersion,
    slotId: info.slotId,
    slotDescription: info.slotDescription,
    slotManufacturer: info.slotManufacturer,
  };
}
