/** Signatures as fast as they are answered: every way to the same key of the same token. */
import type { Contender, Figure } from '../figure.js';
import type { Cleanup } from '../../support/cleanup.js';
import { makeField, type Way } from '../field.js';
import { startFloor } from '../floor/floor.js';
import { rate, runSigner, type Load, type Signed, type SignerSpec } from '../signer.js';
import { NodeClients } from '../node-clients.js';

export async function signFigures(
  cleanup: Cleanup,
  { rounds, ms }: { rounds: number; ms: number },
): Promise<Figure[]> {
  const field = await makeField(cleanup);
  const ways = {
    p256: { ...field.ways('p256'), floor: await startFloor(cleanup, field, 'p256') },
    rsa2048: { ...field.ways('rsa2048'), floor: await startFloor(cleanup, field, 'rsa2048') },
  };
  const one = { processes: 1, threads: 1, ms };
  const eight = { processes: 8, threads: 1, ms };
  /** More would only take turns: the machine has two cores. */
  const two = { processes: 2, threads: 1, ms };
  return [
    {
      id: 'p256-latency',
      title: 'P-256 signature, one client, median latency',
      unit: 'µs',
      rounds,
      contenders: contenders(ways.p256, medianUs, { ours: one, p11Kit: one, inProcess: one }),
      targets: [{ of: 'keyagent', against: 'p11-kit', atMost: 0.6 }],
    },
    {
      id: 'p256-throughput',
      title: 'P-256 signatures, eight clients (in process: two)',
      unit: '/s',
      rounds,
      contenders: contenders(ways.p256, rate, { ours: eight, p11Kit: eight, inProcess: two }),
      targets: [
        { of: 'keyagent', against: 'p11-kit', atLeast: 1.4 },
        { of: 'keyagent', against: 'in process', atLeast: 0.62 },
      ],
    },
    {
      id: 'rsa-throughput',
      title: 'RSA-2048 signatures, eight clients (in process: two)',
      unit: '/s',
      rounds,
      contenders: contenders(ways.rsa2048, rate, { ours: eight, p11Kit: eight, inProcess: two }),
      targets: [
        { of: 'keyagent', against: 'p11-kit', atLeast: 1.2 },
        { of: 'keyagent', against: 'in process', atLeast: 1 },
      ],
    },
  ];
}

type Ways = Record<Way | 'floor', SignerSpec>;

interface Loads {
  ours: Load;
  p11Kit: Load;
  inProcess: Load;
}

function contenders(ways: Ways, of: (signed: Signed) => number, loads: Loads): Contender[] {
  const native = (name: keyof Ways, load: Load): Contender => contender(name, ways[name], of, load);
  return [
    native('keyagent', loads.ours),
    native('provider', loads.ours),
    {
      name: 'TS client',
      measure: async () => of(await new NodeClients(ways.keyagent).run(loads.ours)),
    },
    native('floor', loads.ours),
    native('p11-kit', loads.p11Kit),
    native('in process', loads.inProcess),
  ];
}

export function contender(
  name: string,
  spec: SignerSpec,
  of: (signed: Signed) => number,
  load: Load,
): Contender {
  return { name, measure: async () => of(await runSigner(spec, load)) };
}

export function medianUs(signed: Signed): number {
  return signed.medianUs;
}
