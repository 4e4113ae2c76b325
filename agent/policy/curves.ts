/** The named curves of a TLS 1.2 key exchange (RFC 8422 5.1.1), and whether bytes are a point on one of them. Pure. */

/** y^2 = x^3 - 3x + b over p (FIPS 186-5 / SP 800-186); both coordinates have `length` bytes. */
interface Weierstrass {
  readonly length: number;
  readonly p: bigint;
  readonly b: bigint;
}

const weierstrass: Readonly<Record<number, Weierstrass>> = {
  // secp256r1
  23: {
    length: 32,
    p: 2n ** 256n - 2n ** 224n + 2n ** 192n + 2n ** 96n - 1n,
    b: 0x5ac635d8aa3a93e7b3ebbd55769886bc651d06b0cc53b0f63bce3c3e27d2604bn,
  },
  // secp384r1
  24: {
    length: 48,
    p: 2n ** 384n - 2n ** 128n - 2n ** 96n + 2n ** 32n - 1n,
    b: 0xb3312fa7e23ee7e4988e056be3f82d19181d9c6efe8141120314088f5013875ac656398d8a2ed19d2a85c8edd3ec2aefn,
  },
  // secp521r1
  25: {
    length: 66,
    p: 2n ** 521n - 1n,
    b: BigInt(
      '0x51953eb9618e1c9a1f929a21a0b68540eea2da725b99b315f3b8b489918ef109e156193951ec7e937b1652c0bd3bb1bf073573df883d2c34f1ef451fd46b503f00',
    ),
  },
};

/** x25519 and x448: every string of this many bytes is a point (RFC 7748 5). */
const montgomeryLength: Readonly<Record<number, number>> = { 29: 32, 30: 56 };

const uncompressed = 4;

/**
 * @param curve number of TLS's NamedCurve registry; one that is not known here has no points
 * @param point as TLS encodes it: uncompressed, or the u coordinate of x25519 and x448
 */
export function isCurvePoint(curve: number, point: Uint8Array): boolean {
  const length = montgomeryLength[curve];
  if (length !== undefined) return point.length === length;
  const equation = weierstrass[curve];
  return equation !== undefined && isOn(equation, point);
}

function isOn({ length, p, b }: Weierstrass, point: Uint8Array): boolean {
  if (point.length !== 1 + 2 * length || point[0] !== uncompressed) return false;
  const x = integer(point.subarray(1, 1 + length));
  const y = integer(point.subarray(1 + length));
  return x < p && y < p && (y * y - (x * x * x - 3n * x + b)) % p === 0n;
}

function integer(bytes: Uint8Array): bigint {
  return BigInt(`0x${Buffer.from(bytes).toString('hex')}`);
}
