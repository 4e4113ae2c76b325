/** ECDSA signatures: PKCS#11 gives r || s; X.509 and TLS want SEQUENCE { INTEGER r, INTEGER s } (RFC 3279 2.2.3). */

/** The longest that passes 127 bytes, so that its length takes two, is that of P-521. */
const shortMax = 0x7f;

export function derSignature(rs: Uint8Array): Buffer {
  const half = rs.length / 2;
  const r = firstByte(rs, 0, half);
  const s = firstByte(rs, half, rs.length);
  const content = integerLength(rs, r, half) + integerLength(rs, s, rs.length);
  const header = content > shortMax ? 3 : 2;
  const der = Buffer.allocUnsafe(header + content);
  der[0] = 0x30;
  if (content > shortMax) der[1] = 0x81;
  der[header - 1] = content;
  const at = putInteger(der, header, rs, r, half);
  putInteger(der, at, rs, s, rs.length);
  return der;
}

/** Where the number begins that fills `rs` from `from` to `to`; of a zero, one byte stays. */
function firstByte(rs: Uint8Array, from: number, to: number): number {
  let start = from;
  while (start < to - 1 && rs[start] === 0) start++;
  return start;
}

/** INTEGER is signed: a number whose first bit is set gets a zero in front. */
function isPadded(rs: Uint8Array, start: number): boolean {
  return ((rs[start] ?? 0) & 0x80) !== 0;
}

function integerLength(rs: Uint8Array, start: number, to: number): number {
  return 2 + (isPadded(rs, start) ? 1 : 0) + to - start;
}

/** @returns the offset behind it */
function putInteger(der: Buffer, at: number, rs: Uint8Array, start: number, to: number): number {
  const length = integerLength(rs, start, to);
  der[at] = 0x02;
  der[at + 1] = length - 2;
  if (isPadded(rs, start)) der[at + 2] = 0;
  der.set(rs.subarray(start, to), at + length - (to - start));
  return at + length;
}
