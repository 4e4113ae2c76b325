/**
 * Memory for a PIN that can be wiped. V8 holds typed arrays of up to 64 bytes in its own heap: the collector moves
 * them, and native code gets a second copy outside, so that fill(0) would reach one of several. An ArrayBuffer made as
 * such lies outside from the start and stays where it is.
 */

/** @returns zeroes, nobody else's: not from Node's pool of small Buffers */
export function secretBytes(length: number): Buffer {
  return Buffer.from(new ArrayBuffer(length));
}

/** A copy; both are then the caller's to wipe. */
export function secretCopy(bytes: Uint8Array): Buffer {
  const copy = secretBytes(bytes.length);
  copy.set(bytes);
  return copy;
}
