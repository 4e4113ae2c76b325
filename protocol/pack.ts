/**
 * A value as a frame: the MessagePack subset of PROTOCOL.md section 3 in its shortest form, behind the length.
 * Input: values that a schema has judged. Output: a frame of its own, or AgentError TOO_LARGE, MALFORMED.
 */
import { AgentError } from './errors.js';
import { frameHeaderLength } from './frame.js';
import { limits } from './limits.js';

/** Longer texts are written by native code, shorter ones cost less here. */
const longestByHand = 48;

/** Type bytes of a length: in the byte itself, in one byte, in two; 0: this type has none such. */
interface LengthTypes {
  readonly fix: number;
  readonly fixMax: number;
  readonly one: number;
  readonly two: number;
}
const textTypes: LengthTypes = { fix: 0xa0, fixMax: 31, one: 0xd9, two: 0xda };
const byteTypes: LengthTypes = { fix: 0, fixMax: -1, one: 0xc4, two: 0xc5 };
const arrayTypes: LengthTypes = { fix: 0x90, fixMax: 15, one: 0, two: 0xdc };
const mapTypes: LengthTypes = { fix: 0x80, fixMax: 15, one: 0, two: 0xde };

class Packer {
  readonly #space = Buffer.alloc(frameHeaderLength + limits.frame);
  #at = 0;

  pack(value: unknown): Buffer {
    this.#at = frameHeaderLength;
    try {
      this.#value(value);
      this.#space.writeUInt32BE(this.#at - frameHeaderLength, 0);
      const frame = Buffer.allocUnsafe(this.#at);
      this.#space.copy(frame, 0, 0, this.#at);
      return frame;
    } finally {
      // It may have been a PIN.
      this.#space.fill(0, 0, this.#at);
    }
  }

  #value(value: unknown): void {
    if (typeof value === 'string') return this.#text(value);
    if (typeof value === 'number') return this.#uint(value);
    if (typeof value === 'boolean') return this.#byte(value ? 0xc3 : 0xc2);
    if (value === null) return this.#byte(0xc0);
    if (value instanceof Uint8Array) return this.#bytes(value);
    if (Array.isArray(value)) return this.#array(value);
    if (typeof value === 'object') return this.#map(value as Readonly<Record<string, unknown>>);
    throw new AgentError('MALFORMED', `a value of type ${typeof value}`);
  }

  #map(map: Readonly<Record<string, unknown>>): void {
    const keys = Object.keys(map);
    this.#length(mapTypes, keys.length);
    for (const key of keys) {
      this.#text(key);
      this.#value(map[key]);
    }
  }

  #array(items: readonly unknown[]): void {
    this.#length(arrayTypes, items.length);
    for (const item of items) this.#value(item);
  }

  #bytes(bytes: Uint8Array): void {
    this.#length(byteTypes, bytes.length);
    this.#reserve(bytes.length);
    this.#space.set(bytes, this.#at);
    this.#at += bytes.length;
  }

  #text(text: string): void {
    if (text.length <= longestByHand && this.#asciiByHand(text)) return;
    refuseUnpaired(text);
    const length = Buffer.byteLength(text);
    this.#length(textTypes, length);
    this.#reserve(length);
    this.#at += this.#space.write(text, this.#at, length, 'utf8');
  }

  /** @returns false, and nothing is written, if it is not ASCII */
  #asciiByHand(text: string): boolean {
    const start = this.#at;
    this.#length(textTypes, text.length);
    this.#reserve(text.length);
    for (let i = 0; i < text.length; i++) {
      const code = text.charCodeAt(i);
      if (code >= 0x80) {
        this.#at = start;
        return false;
      }
      this.#space[this.#at++] = code;
    }
    return true;
  }

  #uint(value: number): void {
    if (!Number.isInteger(value) || value < 0 || value > 0xffffffff)
      throw new AgentError('MALFORMED', 'a number that is no unsigned 32-bit integer');
    if (value < 0x80) return this.#byte(value);
    if (value < 0x100) {
      this.#byte(0xcc);
      return this.#byte(value);
    }
    if (value < 0x10000) {
      this.#byte(0xcd);
      return this.#uint16(value);
    }
    this.#byte(0xce);
    this.#uint16(value >>> 16);
    this.#uint16(value & 0xffff);
  }

  #length({ fix, fixMax, one, two }: LengthTypes, length: number): void {
    if (length <= fixMax) return this.#byte(fix | length);
    if (one !== 0 && length < 0x100) {
      this.#byte(one);
      return this.#byte(length);
    }
    // More does not fit into a frame anyway.
    this.#reserve(length);
    this.#byte(two);
    this.#uint16(length);
  }

  #uint16(value: number): void {
    this.#byte(value >>> 8);
    this.#byte(value & 0xff);
  }

  #byte(value: number): void {
    this.#reserve(1);
    this.#space[this.#at++] = value;
  }

  #reserve(length: number): void {
    if (length > this.#space.length - this.#at)
      throw new AgentError('TOO_LARGE', `the message takes more than ${limits.frame} bytes`);
  }
}

/** What has no UTF-8, or begins with a byte order mark, which the other side refuses. */
function refuseUnpaired(text: string): void {
  if (/\p{Surrogate}/u.test(text)) throw new AgentError('MALFORMED', 'a string that has no UTF-8');
  if (text.startsWith('\ufeff')) throw new AgentError('MALFORMED', 'a string with a byte order mark');
}

/** Packing is synchronous: one serves all. */
const packer = new Packer();

/** @throws AgentError TOO_LARGE if it does not fit into a frame, MALFORMED for what the protocol cannot say */
export function pack(value: unknown): Buffer {
  return packer.pack(value);
}
