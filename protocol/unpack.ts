/**
 * A body as a value: the MessagePack subset of PROTOCOL.md section 3 and nothing else (no extensions, floats, negative
 * or 64-bit integers, 32-bit lengths), with every length inside the body, bounded depth, string keys without
 * duplicates, valid UTF-8, and nothing after the value. Input: the body. Output: the value, or AgentError MALFORMED.
 */
import { isUtf8 } from 'node:buffer';
import { AgentError } from './errors.js';
import { limits } from './limits.js';

function malformed(reason: string): AgentError {
  return new AgentError('MALFORMED', reason);
}

type Value = null | boolean | number | string | Uint8Array | Value[] | { [key: string]: Value };

interface SeenText {
  readonly bytes: Uint8Array;
  readonly text: string;
}

/**
 * Short texts that were read before, by a hash of their bytes: names of methods, fields and algorithms come again and
 * again, and making a string costs more than to compare. Secrets are never text.
 */
const seen: (SeenText | undefined)[] = new Array<undefined>(512).fill(undefined);
const longestSeen = 32;

const nothing = Buffer.alloc(0);

class Unpacker {
  #body: Buffer = nothing;
  #at = 0;

  unpack(body: Uint8Array): Value {
    this.#body = Buffer.isBuffer(body) ? body : Buffer.from(body.buffer, body.byteOffset, body.length);
    this.#at = 0;
    const value = this.#value(0);
    if (this.#at !== this.#body.length) throw malformed('bytes after the message');
    this.#body = nothing;
    return value;
  }

  /** @param depth containers around this value */
  #value(depth: number): Value {
    const type = this.#byte();
    if (type < 0x80) return type;
    if (type < 0x90) return this.#map(type & 0x0f, depth);
    if (type < 0xa0) return this.#array(type & 0x0f, depth);
    if (type < 0xc0) return this.#text(type & 0x1f);
    switch (type) {
      case 0xc0:
        return null;
      case 0xc2:
        return false;
      case 0xc3:
        return true;
      case 0xc4:
        return this.#bytes(this.#byte());
      case 0xc5:
        return this.#bytes(this.#uint16());
      case 0xcc:
        return this.#byte();
      case 0xcd:
        return this.#uint16();
      case 0xce:
        return this.#uint16() * 0x10000 + this.#uint16();
      case 0xd9:
        return this.#text(this.#byte());
      case 0xda:
        return this.#text(this.#uint16());
      case 0xdc:
        return this.#array(this.#uint16(), depth);
      case 0xde:
        return this.#map(this.#uint16(), depth);
      default:
        throw malformed(`type 0x${type.toString(16)} is not part of the protocol`);
    }
  }

  #array(count: number, depth: number): Value[] {
    if (depth === limits.depth) throw malformed(`nested deeper than ${limits.depth}`);
    const items: Value[] = [];
    for (let i = 0; i < count; i++) items.push(this.#value(depth + 1));
    return items;
  }

  #map(count: number, depth: number): Value {
    if (depth === limits.depth) throw malformed(`nested deeper than ${limits.depth}`);
    if (count > limits.mapPairs) throw malformed(`a map of more than ${limits.mapPairs} pairs`);
    const map: { [key: string]: Value } = {};
    for (let i = 0; i < count; i++) {
      const key = this.#key();
      if (Object.hasOwn(map, key)) throw malformed('a map with the same key twice');
      const value = this.#value(depth + 1);
      if (key === '__proto__') setOwn(map, key, value);
      else map[key] = value;
    }
    return map;
  }

  #key(): string {
    const type = this.#byte();
    if (type >= 0xa0 && type < 0xc0) return this.#text(type & 0x1f);
    if (type === 0xd9) return this.#text(this.#byte());
    if (type === 0xda) return this.#text(this.#uint16());
    throw malformed('a map key that is not a string');
  }

  #text(length: number): string {
    const start = this.#at;
    this.#skip(length);
    if (length <= longestSeen) return this.#shortText(start);
    const isAscii = this.#isAscii(start);
    return isAscii ? this.#body.toString('latin1', start, this.#at) : this.#unicode(start);
  }

  #shortText(start: number): string {
    const end = this.#at;
    let hash = end - start;
    let bits = 0;
    for (let i = start; i < end; i++) {
      const byte = this.#body[i] ?? 0;
      bits |= byte;
      hash = (hash * 31 + byte) | 0;
    }
    if (bits >= 0x80) return this.#unicode(start);
    const slot = hash & (seen.length - 1);
    const known = seen[slot];
    if (known !== undefined && this.#isHere(known.bytes, start)) return known.text;
    const text = this.#body.toString('latin1', start, end);
    seen[slot] = { bytes: Uint8Array.from(this.#body.subarray(start, end)), text };
    return text;
  }

  /** Whether the text that was read last has these bytes. */
  #isHere(bytes: Uint8Array, start: number): boolean {
    if (bytes.length !== this.#at - start) return false;
    for (let i = 0; i < bytes.length; i++) if (bytes[i] !== this.#body[start + i]) return false;
    return true;
  }

  #isAscii(start: number): boolean {
    for (let i = start; i < this.#at; i++) if ((this.#body[i] ?? 0) >= 0x80) return false;
    return true;
  }

  /** A byte order mark is refused too: some decoders drop it, so it would not mean the same to everybody. */
  #unicode(start: number): string {
    const bytes = this.#body.subarray(start, this.#at);
    if (!isUtf8(bytes)) throw malformed('a string that is not UTF-8');
    if (bytes[0] === 0xef && bytes[1] === 0xbb && bytes[2] === 0xbf)
      throw malformed('a string with a byte order mark');
    return bytes.toString('utf8');
  }

  /** A view of the body. */
  #bytes(length: number): Uint8Array {
    const start = this.#at;
    this.#skip(length);
    return this.#body.subarray(start, this.#at);
  }

  #byte(): number {
    const value = this.#body[this.#at];
    if (value === undefined) throw malformed('the message is cut short');
    this.#at++;
    return value;
  }

  #uint16(): number {
    const high = this.#byte();
    return high * 256 + this.#byte();
  }

  #skip(length: number): void {
    if (length > this.#body.length - this.#at) throw malformed('the message is cut short');
    this.#at += length;
  }
}

/** Assigning to this name would change what the map inherits, and hide the field from the schema. */
function setOwn(map: object, key: string, value: Value): void {
  Object.defineProperty(map, key, { value, enumerable: true, writable: true, configurable: true });
}

/** Unpacking is synchronous: one serves all. */
const unpacker = new Unpacker();

/** @throws AgentError MALFORMED. Bytes in the value are views of the body. */
export function unpack(body: Uint8Array): unknown {
  return unpacker.unpack(body);
}
