/** The few DER forms (X.690) that key objects are made of. Lengths up to 65535. */

export const tag = { octetString: 0x04, bitString: 0x03, sequence: 0x30 } as const;

export function encodeDer(tagByte: number, ...contents: Uint8Array[]): Buffer {
  const content = Buffer.concat(contents);
  const { length } = content;
  if (length > 0xffff) throw new RangeError('DER content over 65535 bytes');
  const header =
    length < 0x80
      ? [tagByte, length]
      : length < 0x100
        ? [tagByte, 0x81, length]
        : [tagByte, 0x82, length >> 8, length & 0xff];
  return Buffer.concat([Buffer.from(header), content]);
}

/** The content if `bytes` is exactly one element of this tag, otherwise undefined. */
export function decodeDer(bytes: Uint8Array, tagByte: number): Buffer | undefined {
  const buffer = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.length);
  if (buffer.length < 2 || buffer[0] !== tagByte) return undefined;
  const first = buffer[1] ?? 0;
  const lengthBytes = first < 0x80 ? 0 : first & 0x7f;
  if (lengthBytes > 2 || first === 0x80 || buffer.length < 2 + lengthBytes) return undefined;
  const length = lengthBytes === 0 ? first : buffer.readUIntBE(2, lengthBytes);
  return buffer.length === 2 + lengthBytes + length ? buffer.subarray(2 + lengthBytes) : undefined;
}
