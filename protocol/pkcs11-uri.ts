/**
 * Reads RFC 7512 URIs as selectors of keys and tokens. "keyagent:NAME" is short for "pkcs11:object=NAME".
 * Input: text of an operator or a client. Output: decoded attributes; errors say where, and never repeat a
 * value (it may be a PIN).
 */
import { AgentError } from './errors.js';

export const objectTypes = ['private', 'public', 'cert', 'secret-key', 'data'] as const;
export type ObjectType = (typeof objectTypes)[number];

export interface Pkcs11Uri {
  /** As it was given. */
  readonly text: string;
  /** Decoded values by attribute name. `id` holds one character (0-255) per byte. */
  readonly path: ReadonlyMap<string, string>;
  readonly query: ReadonlyMap<string, string>;
  /** Attributes of a pattern whose value is only a prefix. */
  readonly prefixes: ReadonlySet<string>;
}

const standardQuery = ['pin-source', 'pin-value', 'module-name', 'module-path'] as const;

/** RFC 7512 2.3: pk11-pchar and pk11-qchar, less the percent escapes. */
const pathCharacters = /^[A-Za-z0-9\-._~:[\]@!$'()*+,=&]$/;
const queryCharacters = /^[A-Za-z0-9\-._~:[\]@!$'()*+,=/?|]$/;
const attributeName = /^[A-Za-z0-9_-]+$/;

/** @throws AgentError INVALID */
export function parsePkcs11Uri(text: string): Pkcs11Uri {
  return parse(text, false);
}

/** As a URI, but an unescaped `*` at the end of a value makes it a prefix; %2A is the character. */
export function parsePkcs11Pattern(text: string): Pkcs11Uri {
  return parse(text, true);
}

function parse(text: string, isPattern: boolean): Pkcs11Uri {
  const rest = withoutScheme(text);
  const mark = rest.indexOf('?');
  const prefixes = new Set<string>();
  const path = parsePath(mark < 0 ? rest : rest.slice(0, mark), isPattern ? prefixes : undefined);
  const query = parseQuery(mark < 0 ? '' : rest.slice(mark + 1));
  return { text, path, query, prefixes };
}

/** RFC 3986 3.1: a scheme is the same in any case. */
function withoutScheme(text: string): string {
  const [scheme, name] = /^(pkcs11|keyagent):/i.exec(text) ?? [];
  if (scheme === undefined) throw invalid('it does not begin with "pkcs11:" or "keyagent:"');
  const rest = text.slice(scheme.length);
  if (name?.toLowerCase() === 'pkcs11') return rest;
  if (rest === '' || /[;?]/.test(rest)) {
    throw invalid('"keyagent:" is followed by one name; write a "pkcs11:" URI for more');
  }
  return `object=${rest}`;
}

/** @param prefixes  of a pattern: receives the attributes that end in `*`; undefined: `*` is a character like any other */
function parsePath(part: string, prefixes: Set<string> | undefined): ReadonlyMap<string, string> {
  const path = new Map<string, string>();
  for (const [name, raw] of attributes(part, ';')) {
    if (path.has(name)) throw invalid(`attribute "${name}" is there twice`);
    const isPrefix = prefixes !== undefined && raw.endsWith('*');
    const value = isPrefix ? raw.slice(0, -1) : raw;
    if (prefixes !== undefined && value.includes('*')) {
      throw invalid(`"${name}": "*" belongs at the end; the character is %2A`);
    }
    path.set(name, checkValue(name, decodeValue(name, value, pathCharacters), isPrefix));
    if (isPrefix) prefixes.add(name);
  }
  return path;
}

/** Attributes of vendors may be repeated (RFC 7512 2.4); nothing here reads them. */
function parseQuery(part: string): ReadonlyMap<string, string> {
  const query = new Map<string, string>();
  for (const [name, raw] of attributes(part, '&')) {
    const isStandard = (standardQuery as readonly string[]).includes(name);
    if (isStandard && query.has(name)) throw invalid(`attribute "${name}" is there twice`);
    query.set(name, decodeValue(name, raw, queryCharacters));
  }
  return query;
}

function attributes(part: string, separator: string): [name: string, raw: string][] {
  if (part === '') return [];
  return part.split(separator).map((attribute, index) => {
    const equals = attribute.indexOf('=');
    const name = attribute.slice(0, Math.max(equals, 0));
    if (!attributeName.test(name)) throw invalid(`attribute ${index + 1} has no "name="`);
    return [name, attribute.slice(equals + 1)];
  });
}

function decodeValue(name: string, raw: string, allowed: RegExp): string {
  const bytes = Buffer.allocUnsafe(raw.length);
  let length = 0;
  for (let at = 0; at < raw.length; at++) {
    const character = raw.charAt(at);
    if (character === '%') {
      const hex = raw.slice(at + 1, at + 3);
      if (!/^[0-9A-Fa-f]{2}$/.test(hex)) throw invalid(`"${name}": "%" without two hex digits`);
      bytes[length++] = Number.parseInt(hex, 16);
      at += 2;
    } else if (allowed.test(character)) {
      bytes[length++] = raw.charCodeAt(at);
    } else {
      throw invalid(`"${name}": character ${at + 1} of the value must be percent-encoded`);
    }
  }
  return decodeBytes(name, bytes.subarray(0, length));
}

function decodeBytes(name: string, bytes: Uint8Array): string {
  if (name === 'id') return Buffer.from(bytes).toString('latin1');
  try {
    return new TextDecoder('utf-8', { fatal: true, ignoreBOM: true }).decode(bytes);
  } catch (cause) {
    throw new AgentError('INVALID', `URI: "${name}": not UTF-8`, { cause });
  }
}

/** Attributes whose grammar is narrower (RFC 7512 2.3). */
function checkValue(name: string, value: string, isPrefix: boolean): string {
  if (name !== 'type' && name !== 'slot-id' && name !== 'library-version') return value;
  if (isPrefix) throw invalid(`"${name}" takes no "*"`);
  if (name === 'type' && !(objectTypes as readonly string[]).includes(value)) {
    throw invalid(`"type" is none of ${objectTypes.join(', ')}`);
  }
  if (name === 'slot-id' && !/^[0-9]{1,20}$/.test(value)) throw invalid('"slot-id" is not a number');
  if (name === 'library-version' && !/^[0-9]{1,3}(\.[0-9]{1,3})?$/.test(value)) {
    throw invalid('"library-version" is not of the form 1 or 1.2');
  }
  return value;
}

/** A client's URI only selects a key: what would name a PIN or a module to load is refused. @throws AgentError INVALID */
export function refuseSelectorQuery(uri: Pkcs11Uri): void {
  for (const name of standardQuery) {
    if (uri.query.has(name)) {
      throw invalid(
        `"${name}" may not be given by a client; the agent's configuration names modules and PIN sources`,
      );
    }
  }
}

function invalid(reason: string): AgentError {
  return new AgentError('INVALID', `URI: ${reason}`);
}
