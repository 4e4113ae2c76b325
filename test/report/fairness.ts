/**
 * What a flood of one user costs another: npm run report:fairness. On SoftHSM, which computes on the processors that
 * everybody here shares, and on a token that takes 5 ms and none of them, as an HSM does: what the flood costs there is
 * the agent's doing. For each algorithm, rounds without and with the flood take turns; what is printed are medians over
 * the rounds. Arguments: how many rounds, and `sessions` of the token.
 */
import { account } from '../support/account.js';
import { Cleanup } from '../support/cleanup.js';
import { deploy } from '../support/deployment.js';
import { Load, type Latencies } from '../support/load.js';
import { scratchFolder } from '../support/scratch.js';
import { testModule } from '../support/test-module.js';
import type { AlgorithmName } from '@keyagent/protocol';

const rounds = Number(process.argv[2] ?? 9);
const sessions = Number(process.argv[3] ?? 8);
const perRound = 300;
const tokens: Record<string, (folder: string) => { module?: string }> = {
  SoftHSM: () => ({}),
  'a token of 5 ms': (folder) => ({ module: testModule(folder, 'latency-pkcs11.so') }),
};
// Told to that module, and to nobody else.
process.env.KEYAGENT_BENCH_LATENCY_US = '5000';
const [flooder, quiet] = [account('games'), account('daemon')];
const algorithms: [AlgorithmName, string][] = [
  ['ecdsa-sha256', 'ec'],
  ['rsa-pss-sha256', 'rsa'],
];

function median(values: number[]): number {
  return values.sort((a, b) => a - b)[Math.floor(values.length / 2)] ?? NaN;
}

function row(
  name: string,
  alone: Latencies[],
  flooded: Latencies[],
  pick: (each: Latencies) => number,
): string {
  const [before, after] = [median(alone.map(pick)), median(flooded.map(pick))];
  return `  ${name.padEnd(8)} alone ${before.toFixed(2)} ms, beside the flood ${after.toFixed(2)} ms: ${(after / before).toFixed(1)} times\n`;
}

async function report(cleanup: Cleanup, name: string, module: { module?: string }): Promise<void> {
  const deployment = await deploy(cleanup, {
    keys: [
      { label: 'ec', type: 'EC:prime256v1' },
      { label: 'rsa', type: 'rsa:2048' },
    ],
    agent: {
      rules: [{ name: 'both', keys: 'pkcs11:', users: [flooder.name, quiet.name] }],
      agentSettings: { socket_mode: '0666' },
      tokenSettings: { sessions, ...module },
    },
  });
  const start = (
    { uid, gid }: typeof quiet,
    label: string,
    alg: AlgorithmName,
    connections: number,
    inFlight: number,
  ) =>
    Load.start(cleanup, {
      socket: deployment.agent.socket,
      identity: { uid, gid, groups: [] },
      connections,
      inFlight,
      uri: deployment.uri(label, 'private'),
      alg,
    });
  for (const [alg, label] of algorithms) {
    const one = await start(quiet, label, alg, 1, 1);
    const eager = await start(quiet, label, alg, 1, 16);
    const flood = await start(flooder, label, alg, 16, 64);
    const alone: Latencies[] = [];
    const flooded: Latencies[] = [];
    await one.sign(perRound);
    for (let round = 0; round < rounds; round++) {
      alone.push(await one.sign(perRound));
      flood.flood();
      flooded.push(await one.sign(perRound));
      await flood.rest();
    }
    // Both always have something waiting.
    flood.flood();
    eager.flood();
    await one.sign(perRound);
    const [victims, others] = await Promise.all([eager.rest(), flood.rest()]);
    const share = victims / ((victims + others) / 2);
    process.stdout.write(`${name}, ${alg}: 1 request at a time, beside 16 connections with 64 each\n`);
    process.stdout.write(row('median', alone, flooded, ({ medianMs }) => medianMs));
    process.stdout.write(row('p99', alone, flooded, ({ p99Ms }) => p99Ms));
    process.stdout.write(`  with 16 at a time it has ${(share * 100).toFixed(0)} % of its fair share\n`);
  }
}

for (const [name, moduleIn] of Object.entries(tokens)) {
  const cleanup = new Cleanup();
  await report(cleanup, name, moduleIn(scratchFolder(cleanup))).finally(() => cleanup.run());
}
