/**
 * What a thousand connections that send a byte now and then cost another user: npm run report:loris, or that with a number
 * of rounds. Each byte in processor time, which the load of the machine does not change; latencies in rounds that take
 * turns, with the thousand silent and with them sending; what is printed are medians over the rounds.
 */
import { account } from '../support/account.js';
import { Cleanup } from '../support/cleanup.js';
import { costs } from '../support/cost.js';
import { begunFrame, Crowd } from '../support/crowd.js';
import { deploy } from '../support/deployment.js';
import { Load, type Latencies } from '../support/load.js';
import { median } from './statistics.js';

const rounds = Number(process.argv[2] ?? 15);
const perRound = 1000;
const connections = 1000;
const [crowdUser, quietUser] = [account('games'), account('daemon')];

async function main(cleanup: Cleanup): Promise<void> {
  const deployment = await deploy(cleanup, {
    keys: [{ label: 'www', type: 'EC:prime256v1' }],
    agent: { rules: [{ keys: 'pkcs11:', users: [quietUser.name] }], agentSettings: { socket_mode: '0666' } },
  });
  const { socket, daemon } = deployment.agent;
  const identity = ({ uid, gid }: typeof quietUser) => ({ uid, gid, groups: [] });
  const uri = deployment.uri('www', 'private');
  const quiet = { socket, identity: identity(quietUser), connections: 1, inFlight: 1, uri };
  const load = await Load.start(cleanup, { ...quiet, alg: 'ecdsa-sha256' });
  const first = begunFrame.toString('hex');
  const crowd = await Crowd.gather(cleanup, { socket, identity: identity(crowdUser), connections, first });
  await load.sign(perRound);

  const [silent, sending]: [Latencies[], Latencies[]] = [[], []];
  const cost: Awaited<ReturnType<typeof costs>>[] = [];
  for (let round = 0; round < rounds; round++) {
    silent.push(await load.sign(perRound));
    await crowd.dripSlowly();
    sending.push(await load.sign(perRound));
    await crowd.rest();
    cost.push(await costs(daemon.pid, load, crowd));
  }
  const us = median(cost.map(({ byteUs }) => byteUs));
  const signatureUs = median(cost.map((each) => each.signatureUs));
  const share = (us * connections * 2) / 1e4;
  print(
    `the agent computes ${us.toFixed(1)} us for a byte, ${signatureUs.toFixed(0)} us for a signature; ${connections} connections, two bytes a second: ${share.toFixed(1)} % of a processor`,
  );
  for (const [name, pick] of [
    ['median', ({ medianMs }: Latencies) => medianMs],
    ['p99', ({ p99Ms }: Latencies) => p99Ms],
  ] as const) {
    const [without, beside] = [median(silent.map(pick)), median(sending.map(pick))];
    const times = median(sending.map((each, i) => pick(each) / pick(silent[i] ?? each)));
    print(
      `${name}: silent ${without.toFixed(2)} ms, sending ${beside.toFixed(2)} ms, ${times.toFixed(2)} times (median of the rounds)`,
    );
  }
}

function print(line: string): void {
  process.stdout.write(`${line}\n`);
}

const cleanup = new Cleanup();
await main(cleanup).finally(() => cleanup.run());
