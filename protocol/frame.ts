/**
 * Frames: a 4-byte big-endian length, then that many bytes of body. Knows nothing of what a body says.
 * Input: chunks as a socket gives them. Output: whole bodies, in order.
 */
import { AgentError } from './errors.js';

export const frameHeaderLength = 4;

/** One frame around a body that is already encoded. The codec makes its frames without this copy. */
export function encodeFrame(body: Uint8Array): Buffer {
  const frame = Buffer.allocUnsafe(frameHeaderLength + body.length);
  frame.writeUInt32BE(body.length, 0);
  frame.set(body, frameHeaderLength);
  return frame;
}

/**
 * Cuts a byte stream into bodies. A body that arrived whole is a view of its chunk; one that arrived in
 * pieces is assembled in a buffer of its exact size, so nothing is copied twice. After an error the stream
 * has no frame boundary any more: frames of the same chunk are lost with the connection.
 */
export class FrameReader {
  readonly #maxBody: number;
  readonly #header = Buffer.alloc(frameHeaderLength);
  #headerFill = 0;
  #body: Buffer | undefined;
  #bodyFill = 0;

  /** @param maxBody longest body accepted, in bytes */
  constructor(maxBody: number) {
    this.#maxBody = maxBody;
  }

  /** True between frames: the stream may end here without loss. */
  get idle(): boolean {
    return this.#headerFill === 0;
  }

  /** @throws AgentError TOO_LARGE as soon as a length is over the maximum; MALFORMED for length 0 */
  push(chunk: Uint8Array): Buffer[] {
    const bytes = Buffer.isBuffer(chunk) ? chunk : Buffer.from(chunk.buffer, chunk.byteOffset, chunk.length);
    const bodies: Buffer[] = [];
    let at = 0;
    while (at < bytes.length) {
      if (this.#headerFill < frameHeaderLength) {
        at = this.#readHeader(bytes, at);
      } else {
        const length = this.#header.readUInt32BE(0);
        const missing = length - this.#bodyFill;
        const end = Math.min(at + missing, bytes.length);
        const body = this.#takeBody(bytes.subarray(at, end), length);
        if (body !== undefined) bodies.push(body);
        at = end;
      }
    }
    return bodies;
  }

  #readHeader(bytes: Buffer, from: number): number {
    let at = from;
    while (this.#headerFill < frameHeaderLength && at < bytes.length) {
      this.#header[this.#headerFill++] = bytes[at++] ?? 0;
    }
    if (this.#headerFill === frameHeaderLength) this.#checkLength(this.#header.readUInt32BE(0));
    return at;
  }

  #checkLength(length: number): void {
    if (length === 0) throw new AgentError('MALFORMED', 'a frame of length 0');
    if (length > this.#maxBody) {
      throw new AgentError('TOO_LARGE', `a frame of ${length} bytes; at most ${this.#maxBody} are allowed`);
    }
  }

  /** The whole body if this piece completes it. */
  #takeBody(piece: Buffer, length: number): Buffer | undefined {
    if (piece.length === length) {
      this.#headerFill = 0;
      return piece;
    }
    this.#body ??= Buffer.allocUnsafeSlow(length);
    this.#bodyFill += piece.copy(this.#body, this.#bodyFill);
    if (this.#bodyFill < length) return undefined;
    const body = this.#body;
    this.#body = undefined;
    this.#bodyFill = 0;
    this.#headerFill = 0;
    return body;
  }
}
