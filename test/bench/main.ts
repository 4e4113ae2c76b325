/**
 * npm run bench: everything side by side in one run, in rounds that alternate. Prints medians and ratios.
 *   --quick        the comparisons with other ways to a key, in under a minute
 *   --only PART    figures whose id contains PART; may be repeated
 *   --write        keeps the results: docs/bench and the table in the README
 */
import { parseArgs } from 'node:util';
import { Cleanup } from '../support/cleanup.js';
import { measure, type Figure, type Measured } from './figure.js';
import { makeField } from './field.js';
import { costFigures } from './figures/cost.js';
import { connectionFigures, keyFigures } from './figures/scale.js';
import { signFigures } from './figures/sign.js';
import { slowTokenFigures } from './figures/slow-token.js';
import { startFigures } from './figures/start.js';
import { tlsFigures } from './figures/tls.js';
import { machine } from './machine.js';
import { figureText } from './report/text.js';
import { writeResults } from './report/write.js';

const { values: options } = parseArgs({
  options: {
    quick: { type: 'boolean', default: false },
    only: { type: 'string', multiple: true },
    write: { type: 'boolean', default: false },
  },
});

/** A group makes its ground only if one of its figures is wanted. */
interface Group {
  readonly ids: readonly string[];
  figures(cleanup: Cleanup): Promise<readonly Figure[]>;
}

function groups(): Group[] {
  if (options.quick) {
    return [
      {
        ids: ['p256-latency', 'p256-throughput', 'rsa-throughput'],
        figures: (cleanup) => signFigures(cleanup, { rounds: 3, ms: 600 }),
      },
    ];
  }
  return [
    {
      ids: ['p256-latency', 'p256-throughput', 'rsa-throughput'],
      figures: (cleanup) => signFigures(cleanup, { rounds: 7, ms: 2000 }),
    },
    {
      ids: ['slow-token-throughput', 'slow-token-p99'],
      figures: (cleanup) => slowTokenFigures(cleanup, { rounds: 5, ms: 2000 }),
    },
    {
      ids: [
        ...['event', 'prefork'].flatMap((mpm) => ['rsa2048', 'p256'].map((key) => `apache-${mpm}-${key}`)),
        'apache-start',
      ],
      figures: (cleanup) => tlsFigures(cleanup, { rounds: 7, handshakes: 2000 }),
    },
    {
      ids: ['agent-start', 'unlock-to-signature'],
      figures: (cleanup) => startFigures(cleanup, { rounds: 7 }),
    },
    {
      ids: ['connections-throughput', 'connection-memory'],
      figures: (cleanup) => connectionFigures(cleanup, { rounds: 5, ms: 2000 }),
    },
    {
      ids: ['keys-sign', 'keys-lookup'],
      figures: (cleanup) => keyFigures(cleanup, { rounds: 5, ms: 2000, keys: 2000 }),
    },
    {
      ids: ['audit', 'cpu-per-operation', 'idle-cpu', 'memory', 'memory-growth'],
      figures: async (cleanup) =>
        costFigures(cleanup, await makeField(cleanup), { rounds: 5, ms: 2000, operations: 1_000_000 }),
    },
  ];
}

function isWanted(id: string): boolean {
  return options.only?.some((part) => id.includes(part)) ?? true;
}

async function run(): Promise<Measured[]> {
  const results: Measured[] = [];
  for (const group of groups().filter(({ ids }) => ids.some(isWanted))) {
    const cleanup = new Cleanup();
    try {
      for (const figure of await group.figures(cleanup)) {
        if (!isWanted(figure.id)) continue;
        const measured = await measure(figure);
        process.stdout.write(figureText(measured));
        results.push(measured);
      }
    } finally {
      await cleanup.run();
    }
  }
  return results;
}

const where = machine();
console.log(
  `${where.processor}, ${where.cores} cores, ${where.system}, Node ${where.node}; load ${where.load}`,
);
const results = await run();
if (results.length === 0) throw new Error(`no figure is called ${options.only?.join(' or ') ?? 'anything'}`);
if (options.write) writeResults({ machine: where, takenAt: new Date().toISOString().slice(0, 10), results });
const missed = results.flatMap(({ outcomes }) => outcomes).filter(({ reached }) => !reached).length;
console.log(missed === 0 ? '\nevery target is reached' : `\n${missed} targets are not reached`);
