/**
 * The primes that a TLS 1.2 server may offer for DHE: RFC 3526 (MODP, 1536 to 8192 bits) and RFC 7919 (ffdhe, 2048 to
 * 8192 bits). Both documents define theirs by a formula, which is shorter and easier to check than 11 numbers:
 *   p = 2^n - 2^(n-64) + (floor(2^(n-130) * c) + x) * 2^64 - 1, with c = pi (RFC 3526) or e (RFC 7919).
 */

/** x by length of the prime in bits. */
const modp: Readonly<Record<number, bigint>> = {
  1536: 741_804n,
  2048: 124_476n,
  3072: 1_690_314n,
  4096: 240_904n,
  6144: 929_484n,
  8192: 4_743_158n,
};
const ffdhe: Readonly<Record<number, bigint>> = {
  2048: 560_316n,
  3072: 2_625_351n,
  4096: 5_736_041n,
  6144: 15_705_020n,
  8192: 10_965_728n,
};

/** By length in bytes, once one of that length was asked for: a few milliseconds for the longest. */
const made = new Map<number, readonly string[]>();

/** @param bytes big-endian, without leading zeros, as TLS sends it */
export function isSafePrime(bytes: Uint8Array): boolean {
  if (modp[8 * bytes.length] === undefined) return false;
  let primes = made.get(bytes.length);
  if (primes === undefined) {
    primes = primesOf(8 * bytes.length);
    made.set(bytes.length, primes);
  }
  return primes.includes(Buffer.from(bytes).toString('hex'));
}

function primesOf(bits: number): string[] {
  const n = BigInt(bits);
  const families = [
    [modp[bits], pi],
    [ffdhe[bits], e],
  ] as const;
  return families.flatMap(([x, constant]) =>
    x === undefined
      ? []
      : [(2n ** n - 2n ** (n - 64n) + (constant(n - 130n) + x) * 2n ** 64n - 1n).toString(16)],
  );
}

/** More digits than the error of the longest series. */
const guard = 64n;

/** floor(2^bits * e), from the sum of 1/k!. */
function e(bits: bigint): bigint {
  let sum = 0n;
  for (let term = 1n << (bits + guard), k = 1n; term > 0n; term /= k++) sum += term;
  return sum >> guard;
}

/** floor(2^bits * pi), by Machin's formula. */
function pi(bits: bigint): bigint {
  const one = 1n << (bits + guard);
  return (4n * (4n * arctanOfInverse(5n, one) - arctanOfInverse(239n, one))) >> guard;
}

/** one * arctan(1/x) */
function arctanOfInverse(x: bigint, one: bigint): bigint {
  let sum = 0n;
  let sign = 1n;
  for (let power = one / x, k = 1n; power > 0n; power /= x * x, k += 2n, sign = -sign) {
    sum += (sign * power) / k;
  }
  return sum;
}
