/** ECDSA signatures: PKCS#11 gives r || s; X.509 and TLS want SEQUENCE { INTEGER r, INTEGER s } (RFC 3279 2.2.3). */

export function derSignature(rs: Uint8Array): Buffer {
  const half = rs.length / 2;
  const r = derInteger(rs.subarray(0, half));
  const s = derInteger(rs.subarray(half));
  const length = r.length + s.length;
  // P-521 is the only curve whose signature passes 127 bytes.
  const header = length < 0x80 ? [0x30, length] : [0x30, 0x81, length];
  return Buffer.concat([Buffer.from(header), r, s]);
}

function derInteger(bytes: Uint8Array): Buffer {
  let start = 0;
  while (start < bytes.length - 1 && bytes[start] === 0) start++;
  const value = bytes.subarray(start);
  const sign = ((value[0] ?? 0) & 0x80) === 0 ? [] : [0];
  return Buffer.concat([Buffer.from([0x02, value.length + sign.length, ...sign]), value]);
}
