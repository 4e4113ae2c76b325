/** What the agent costs: processor time for each operation and at rest, memory, the audit log's part. */
import { setTimeout as delay } from 'node:timers/promises';
import type { Cleanup } from '../../support/cleanup.js';
import { makeField, type Field } from '../field.js';
import type { Figure } from '../figure.js';
import { agentAndHosts, cpuUs, residentMiB } from '../processes.js';
import { rate, runSigner } from '../signer.js';

export async function costFigures(
  cleanup: Cleanup,
  field: Field,
  { rounds, ms, operations }: { rounds: number; ms: number; operations: number },
): Promise<Figure[]> {
  const withoutAudit = await makeField(cleanup, {
    preload: new URL('../no-audit.js', import.meta.url).pathname,
  });
  const eight = { processes: 8, threads: 1, ms };
  const signRate = (where: Field) => async () => rate(await runSigner(where.ways('p256').keyagent, eight));
  return [
    {
      id: 'audit',
      title: 'P-256 signatures, eight clients, with the audit log and without',
      unit: '/s',
      rounds,
      contenders: [
        { name: 'with audit', measure: signRate(field) },
        { name: 'without', measure: signRate(withoutAudit) },
      ],
      targets: [{ of: 'with audit', against: 'without', atLeast: 0.95 }],
    },
    {
      id: 'cpu-per-operation',
      title: "Processor time of agent and host for each P-256 signature, beyond the token's own",
      unit: 'µs',
      rounds,
      contenders: [{ name: 'keyagent', measure: () => cpuBeyondToken(field, ms) }],
      targets: [{ of: 'keyagent', atMost: 45 }],
    },
    {
      id: 'idle-cpu',
      title: 'Processor time of an idle, unlocked agent and its host',
      unit: '%',
      rounds: 1,
      contenders: [{ name: 'keyagent', measure: () => idlePercent(field, 10 * ms) }],
      targets: [{ of: 'keyagent', atMost: 0.1 }],
    },
    {
      id: 'memory',
      title: 'Resident memory of agent and host, idle',
      unit: 'MiB',
      rounds: 1,
      contenders: [{ name: 'keyagent', measure: () => freshMiB(cleanup) }],
      targets: [{ of: 'keyagent', atMost: 150 }],
    },
    {
      id: 'memory-growth',
      title: `Growth of that over ${operations.toLocaleString('en')} operations`,
      unit: 'MiB',
      rounds: 1,
      contenders: [{ name: 'keyagent', measure: () => growthMiB(field, operations) }],
      targets: [{ of: 'keyagent', atMost: 5 }],
    },
  ];
}

async function cpuBeyondToken(field: Field, ms: number): Promise<number> {
  const ways = field.ways('p256');
  const pids = agentAndHosts(field.agentPid);
  const before = cpuUs(pids);
  const { all } = await runSigner(ways.keyagent, { processes: 8, threads: 1, ms });
  const ours = (cpuUs(pids) - before) / all;
  const token = await runSigner(ways['in process'], { processes: 1, threads: 1, ms });
  return ours - token.cpuUs;
}

const settleMs = 60_000;

async function idlePercent({ agentPid }: Field, ms: number): Promise<number> {
  const pids = agentAndHosts(agentPid);
  // What was done before leaves V8 something to tidy up.
  await delay(settleMs);
  const before = cpuUs(pids);
  await delay(ms);
  return ((cpuUs(pids) - before) / (ms * 1000)) * 100;
}

async function freshMiB(cleanup: Cleanup): Promise<number> {
  const { agentPid } = await makeField(cleanup);
  await delay(1000);
  return residentMiB(agentAndHosts(agentPid));
}

/** The first tenth warms up heaps and caches; what follows is growth. */
async function growthMiB(field: Field, operations: number): Promise<number> {
  const { keyagent } = field.ways('p256');
  const pids = agentAndHosts(field.agentPid);
  let done = 0;
  let before: number | undefined;
  while (done < operations) {
    done += (await runSigner(keyagent, { processes: 8, threads: 1, ms: 5000 })).all;
    if (before === undefined && done >= operations / 10) before = residentMiB(pids);
  }
  return residentMiB(pids) - (before ?? NaN);
}
