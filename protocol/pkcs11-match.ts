/** Compares RFC 7512 URIs with what is known of an object, and writes the URI of an object. Pure. */
import type { ObjectType, Pkcs11Uri } from './pkcs11-uri.js';

/** What an object and its token, slot and module are known by. An attribute that is undefined matches nothing. */
export interface Pkcs11Attributes {
  readonly token?: string | undefined;
  readonly manufacturer?: string | undefined;
  readonly serial?: string | undefined;
  readonly model?: string | undefined;
  readonly libraryManufacturer?: string | undefined;
  readonly libraryDescription?: string | undefined;
  /** "major.minor" */
  readonly libraryVersion?: string | undefined;
  readonly slotManufacturer?: string | undefined;
  readonly slotDescription?: string | undefined;
  readonly slotId?: number | undefined;
  /** CKA_LABEL */
  readonly object?: string | undefined;
  /** CKA_ID */
  readonly id?: Uint8Array | undefined;
  readonly type?: ObjectType | undefined;
}

/** Compared without the blanks that PKCS#11 pads these fields with. */
const padded = {
  token: 'token',
  manufacturer: 'manufacturer',
  serial: 'serial',
  model: 'model',
  'library-manufacturer': 'libraryManufacturer',
  'library-description': 'libraryDescription',
  'slot-manufacturer': 'slotManufacturer',
  'slot-description': 'slotDescription',
} as const satisfies Record<string, keyof Pkcs11Attributes>;

/** True if every attribute of the URI's path matches; an attribute that this does not know never does. */
export function matchesPkcs11Uri(uri: Pkcs11Uri, known: Pkcs11Attributes): boolean {
  for (const [name, value] of uri.path) {
    if (!matchesAttribute(name, value, uri.prefixes.has(name), known)) return false;
  }
  return true;
}

function matchesAttribute(name: string, value: string, isPrefix: boolean, known: Pkcs11Attributes): boolean {
  if (Object.hasOwn(padded, name)) {
    const actual = known[padded[name as keyof typeof padded]];
    return (
      actual !== undefined && matchesText(trimBlanks(value, isPrefix), trimBlanks(actual, false), isPrefix)
    );
  }
  switch (name) {
    case 'object':
      return known.object !== undefined && matchesText(value, known.object, isPrefix);
    case 'id':
      return known.id !== undefined && matchesText(value, Buffer.from(known.id).toString('latin1'), isPrefix);
    case 'type':
      return value === known.type;
    case 'slot-id':
      return known.slotId !== undefined && BigInt(value) === BigInt(known.slotId);
    case 'library-version':
      return known.libraryVersion !== undefined && version(value) === version(known.libraryVersion);
    default:
      return false;
  }
}

function matchesText(wanted: string, actual: string, isPrefix: boolean): boolean {
  return isPrefix ? actual.startsWith(wanted) : actual === wanted;
}

/** A blank at the end of a prefix is part of it. */
function trimBlanks(text: string, isPrefix: boolean): string {
  return isPrefix || !text.endsWith(' ') ? text : text.replace(/ +$/, '');
}

/** "3" is 3.0 (RFC 7512 2.3). */
function version(text: string): string {
  const [major, minor] = text.split('.');
  return `${Number(major)}.${Number(minor ?? 0)}`;
}

const formatOrder = [
  ['token', 'token'],
  ['manufacturer', 'manufacturer'],
  ['serial', 'serial'],
  ['model', 'model'],
  ['library-manufacturer', 'libraryManufacturer'],
  ['library-description', 'libraryDescription'],
  ['library-version', 'libraryVersion'],
  ['slot-manufacturer', 'slotManufacturer'],
  ['slot-description', 'slotDescription'],
  ['slot-id', 'slotId'],
  ['object', 'object'],
  ['id', 'id'],
  ['type', 'type'],
] as const satisfies readonly (readonly [string, keyof Pkcs11Attributes])[];

/** Always percent-encoded beyond letters, digits and `-._~`: safe in a shell, a configuration file and a PEM reference. */
export function formatPkcs11Uri(known: Pkcs11Attributes): string {
  const parts: string[] = [];
  for (const [name, key] of formatOrder) {
    const value = known[key];
    if (value !== undefined) parts.push(`${name}=${escape(value)}`);
  }
  return `pkcs11:${parts.join(';')}`;
}

/** CKA_ID is encoded as a whole, as RFC 7512 2.3 recommends. */
function escape(value: string | number | Uint8Array): string {
  const bytes = typeof value === 'object' ? value : Buffer.from(String(value));
  let text = '';
  for (const byte of bytes) {
    const character = String.fromCharCode(byte);
    const plain = typeof value !== 'object' && /[A-Za-z0-9\-._~]/.test(character);
    text += plain ? character : `%${byte.toString(16).toUpperCase().padStart(2, '0')}`;
  }
  return text;
}
