/** Whether two series of measured times differ. Pure. */

export function median(values: readonly number[]): number {
  const sorted = [...values].sort((a, b) => a - b);
  return sorted[Math.floor(sorted.length / 2)] ?? NaN;
}

/**
 * Welch's t of two series without their slowest twentieth, which the scheduler made. Above 4.5 the usual reading is that
 * they differ.
 */
export function welchT(a: readonly number[], b: readonly number[]): number {
  const [first, second] = [moments(a), moments(b)];
  return (
    (first.mean - second.mean) / Math.sqrt(first.variance / first.count + second.variance / second.count)
  );
}

function moments(values: readonly number[]): { count: number; mean: number; variance: number } {
  const kept = [...values].sort((a, b) => a - b).slice(0, Math.ceil(values.length * 0.95));
  const mean = kept.reduce((sum, value) => sum + value, 0) / kept.length;
  const squares = kept.reduce((sum, value) => sum + (value - mean) ** 2, 0);
  return { count: kept.length, mean, variance: squares / (kept.length - 1) };
}
