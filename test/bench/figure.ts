/** What a benchmark measures and what it is held against. Contenders take turns within one run, so that they share its noise. */

export interface Contender {
  readonly name: string;
  /** One round; the number is in the figure's unit. */
  measure(): Promise<number>;
}

/** A ratio of two contenders, or one contender's own number where `against` is left out. */
export interface Target {
  readonly of: string;
  readonly against?: string;
  readonly atMost?: number;
  readonly atLeast?: number;
}

export interface Figure {
  readonly id: string;
  readonly title: string;
  readonly unit: string;
  readonly contenders: readonly Contender[];
  readonly targets: readonly Target[];
  readonly rounds: number;
}

export interface Series {
  readonly name: string;
  readonly median: number;
  readonly rounds: readonly number[];
}

export interface Outcome extends Target {
  /** A median over rounds; of a ratio, the ratio is taken round by round. */
  readonly value: number;
  readonly reached: boolean;
}

export interface Measured {
  readonly id: string;
  readonly title: string;
  readonly unit: string;
  readonly series: readonly Series[];
  readonly outcomes: readonly Outcome[];
}

/** Rounds begin with another contender each, so that none always follows the same one. */
export async function measure({ contenders, rounds, targets, ...figure }: Figure): Promise<Measured> {
  const values = new Map(contenders.map(({ name }): [string, number[]] => [name, []]));
  for (let round = 0; round < rounds; round++) {
    const first = round % contenders.length;
    for (const contender of [...contenders.slice(first), ...contenders.slice(0, first)]) {
      values.get(contender.name)?.push(await contender.measure());
    }
  }
  const series = [...values].map(([name, numbers]) => ({ name, median: median(numbers), rounds: numbers }));
  const { id, title, unit } = figure;
  return { id, title, unit, series, outcomes: targets.map((target) => outcome(target, values)) };
}

export function median(numbers: readonly number[]): number {
  const sorted = [...numbers].sort((a, b) => a - b);
  const middle = sorted.length >> 1;
  const upper = sorted[middle];
  if (upper === undefined) throw new Error('the median of nothing');
  return sorted.length % 2 === 1 ? upper : ((sorted[middle - 1] ?? upper) + upper) / 2;
}

function outcome(target: Target, values: ReadonlyMap<string, readonly number[]>): Outcome {
  const own = roundsOf(target.of, values);
  const others = target.against === undefined ? undefined : roundsOf(target.against, values);
  const value = median(own.map((number, i) => (others === undefined ? number : number / (others[i] ?? NaN))));
  const { atMost = Infinity, atLeast = -Infinity } = target;
  return { ...target, value, reached: value <= atMost && value >= atLeast };
}

function roundsOf(name: string, values: ReadonlyMap<string, readonly number[]>): readonly number[] {
  const rounds = values.get(name);
  if (rounds === undefined) throw new Error(`no contender is called ${name}`);
  return rounds;
}
