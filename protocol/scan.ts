/**
 * The strict look at a body before a decoder touches it: accepts only the MessagePack subset of PROTOCOL.md
 * (no extensions, floats, negative or 64-bit integers, 32-bit lengths), with every length inside the body,
 * bounded depth, string keys without duplicates, valid UTF-8, and nothing after the value.
 * Input: the body. Output: nothing, or AgentError MALFORMED. Allocates nothing for ASCII text.
 */
import { isUtf8 } from 'node:buffer';
import { AgentError } from './errors.js';
import { limits } from './limits.js';

function malformed(reason: string): AgentError {
  return new AgentError('MALFORMED', reason);
}

/** Start and end of the keys of the maps that are open, by depth. Scanning is synchronous: one table serves all. */
const keyRanges = new Uint32Array((limits.depth + 1) * limits.mapPairs * 2);

const nothing = new Uint8Array(0);

class Scanner {
  #body: Uint8Array = nothing;
  #at = 0;
  /** Where the string that was read last begins. */
  #textStart = 0;

  scan(body: Uint8Array): void {
    this.#body = body;
    this.#at = 0;
    this.#value(0);
    if (this.#at !== body.length) throw malformed('bytes after the message');
    this.#body = nothing;
  }

  /** @param depth containers around this value */
  #value(depth: number): void {
    const type = this.#byte();
    if (type < 0x80) return;
    if (type < 0x90) return this.#map(type & 0x0f, depth);
    if (type < 0xa0) return this.#array(type & 0x0f, depth);
    if (type < 0xc0) return this.#text(type & 0x1f);
    switch (type) {
      case 0xc0: // nil
      case 0xc2: // false
      case 0xc3: // true
        return;
      case 0xc4:
        return this.#skip(this.#byte());
      case 0xc5:
        return this.#skip(this.#uint16());
      case 0xcc:
        return this.#skip(1);
      case 0xcd:
        return this.#skip(2);
      case 0xce:
        return this.#skip(4);
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

  #array(count: number, depth: number): void {
    if (depth === limits.depth) throw malformed(`nested deeper than ${limits.depth}`);
    for (let i = 0; i < count; i++) this.#value(depth + 1);
  }

  #map(count: number, depth: number): void {
    if (depth === limits.depth) throw malformed(`nested deeper than ${limits.depth}`);
    if (count > limits.mapPairs) throw malformed(`a map of more than ${limits.mapPairs} pairs`);
    const first = depth * limits.mapPairs * 2;
    for (let i = 0; i < count; i++) {
      this.#key(first, first + i * 2);
      this.#value(depth + 1);
    }
  }

  #key(first: number, slot: number): void {
    const type = this.#byte();
    if (type >= 0xa0 && type < 0xc0) this.#text(type & 0x1f);
    else if (type === 0xd9) this.#text(this.#byte());
    else if (type === 0xda) this.#text(this.#uint16());
    else throw malformed('a map key that is not a string');
    const end = this.#at;
    const start = this.#textStart;
    for (let other = first; other < slot; other += 2) {
      if (this.#same(keyRanges[other] ?? 0, keyRanges[other + 1] ?? 0, start, end)) {
        throw malformed('a map with the same key twice');
      }
    }
    keyRanges[slot] = start;
    keyRanges[slot + 1] = end;
  }

  #same(start: number, end: number, otherStart: number, otherEnd: number): boolean {
    if (end - start !== otherEnd - otherStart) return false;
    for (let i = start, j = otherStart; i < end; i++, j++) {
      if (this.#body[i] !== this.#body[j]) return false;
    }
    return true;
  }

  #text(length: number): void {
    const start = this.#at;
    this.#skip(length);
    this.#textStart = start;
    for (let i = start; i < this.#at; i++) {
      if ((this.#body[i] ?? 0) >= 0x80) {
        return this.#checkUtf8(start);
      }
    }
  }

  /** A byte order mark is refused too: some decoders drop it, so it would not mean the same to everybody. */
  #checkUtf8(start: number): void {
    const text = this.#body.subarray(start, this.#at);
    if (!isUtf8(text)) throw malformed('a string that is not UTF-8');
    if (text[0] === 0xef && text[1] === 0xbb && text[2] === 0xbf)
      throw malformed('a string with a byte order mark');
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

const scanner = new Scanner();

/** @throws AgentError MALFORMED */
export function scan(body: Uint8Array): void {
  scanner.scan(body);
}
