/** A token at a distance: 5 ms for each operation, 32 sessions. What the agent adds must not show. */
import type { Cleanup } from '../../support/cleanup.js';
import { scratchFolder } from '../../support/scratch.js';
import { testModule } from '../../support/test-module.js';
import { makeField } from '../field.js';
import type { Figure } from '../figure.js';
import { rate, runSigner, type Signed } from '../signer.js';

const latencyUs = 5000;
const sessions = 32;
const clientThreads = 64;

export async function slowTokenFigures(
  cleanup: Cleanup,
  { rounds, ms }: { rounds: number; ms: number },
): Promise<Figure[]> {
  const field = await makeField(cleanup, {
    tokenSettings: { module: testModule(scratchFolder(cleanup), 'latency-pkcs11.so'), sessions },
    moduleEnv: { KEYAGENT_BENCH_LATENCY_US: String(latencyUs) },
  });
  const { keyagent } = field.ways('p256');
  const run = (): Promise<Signed> => runSigner(keyagent, { processes: 8, threads: clientThreads / 8, ms });
  const idealRate = (sessions * 1e6) / latencyUs;
  /** A client waits for the one that has its session, then for itself. */
  const idealUs = (clientThreads / sessions) * latencyUs;
  return [
    {
      id: 'slow-token-throughput',
      title: 'A token of 5 ms and 32 sessions, 64 client threads: share of 6,400/s',
      unit: 'share',
      rounds,
      contenders: [{ name: 'keyagent', measure: async () => rate(await run()) / idealRate }],
      targets: [{ of: 'keyagent', atLeast: 0.95 }],
    },
    {
      id: 'slow-token-p99',
      title: 'The same: p99 against the ideal 10 ms',
      unit: 'x',
      rounds,
      contenders: [{ name: 'keyagent', measure: async () => (await run()).p99Us / idealUs }],
      targets: [{ of: 'keyagent', atMost: 2.3 }],
    },
  ];
}
