/** What grows must not slow down: connections, keys. */
import { userInfo } from 'node:os';
import { createConnection, type Socket } from 'node:net';
import { once } from 'node:events';
import { connect } from '@keyagent/client';
import { encodeRequest } from '@keyagent/protocol';
import { startAgent } from '../../support/agent.js';
import { makeAuthority } from '../../support/authority.js';
import type { Cleanup } from '../../support/cleanup.js';
import { scratchFolder } from '../../support/scratch.js';
import { SoftHsm, type Token } from '../../support/softhsm.js';
import { makeKeys } from '../make-keys.js';
import { makeField, twentyRules } from '../field.js';
import type { Figure } from '../figure.js';
import { residentMiB } from '../processes.js';
import { rate, runSigner } from '../signer.js';

const manyConnections = 1000;
const idleConnections = 4000;

/** bench-signer has a connection for each thread: 1,000 of them, all asking, against 8. */
export async function connectionFigures(
  cleanup: Cleanup,
  { rounds, ms }: { rounds: number; ms: number },
): Promise<Figure[]> {
  const { keyagent } = (await makeField(cleanup)).ways('p256');
  const measureRate = (threads: number) => async () =>
    rate(await runSigner(keyagent, { processes: 8, threads, ms }));
  return [
    {
      id: 'connections-throughput',
      title: '1,000 connections that all ask, against 8',
      unit: '/s',
      rounds,
      contenders: [
        { name: '1000', measure: measureRate(manyConnections / 8) },
        { name: '8', measure: measureRate(1) },
      ],
      targets: [{ of: '1000', against: '8', atLeast: 0.85 }],
    },
    {
      id: 'connection-memory',
      title: 'Memory of the agent for each of 4,000 idle connections',
      unit: 'KiB',
      rounds: Math.min(rounds, 3),
      contenders: [{ name: 'keyagent', measure: () => idleConnectionKiB(cleanup) }],
      targets: [{ of: 'keyagent', atMost: 12 }],
    },
  ];
}

/** Of a new agent: one that was busy has room left over. */
async function idleConnectionKiB(cleanup: Cleanup): Promise<number> {
  const { agent, agentPid } = await makeField(cleanup);
  const before = residentMiB([agentPid]);
  const sockets: Socket[] = [];
  for (let i = 0; i < idleConnections; i++) sockets.push(await greeted(agent.socket));
  const after = residentMiB([agentPid]);
  for (const socket of sockets) socket.destroy();
  return ((after - before) * 1024) / idleConnections;
}

async function greeted(path: string): Promise<Socket> {
  const socket = createConnection(path);
  socket.write(encodeRequest({ id: 1, method: 'hello', params: { min: 1, max: 1 } }));
  await once(socket, 'data');
  return socket;
}

/** A token with 2,000 keys beside one with 2: a lookup by URI and a signature. */
export async function keyFigures(
  cleanup: Cleanup,
  { rounds, ms, keys }: { rounds: number; ms: number; keys: number },
): Promise<Figure[]> {
  const folder = scratchFolder(cleanup);
  const hsm = new SoftHsm(folder, await makeAuthority(folder));
  const few = await hsm.makeToken('few', [{ label: 'p256', type: 'EC:prime256v1' }]);
  const many = await hsm.makeToken('many', [{ label: 'p256', type: 'EC:prime256v1' }]);
  await makeKeys(hsm, many, keys);
  const [fewAgent, manyAgent] = [await startWith(cleanup, hsm, few), await startWith(cleanup, hsm, many)];
  return [
    {
      id: 'keys-sign',
      title: `A signature with a token of ${keys} keys against one of 2`,
      unit: 'µs',
      rounds,
      contenders: [
        { name: 'many', measure: signUs(manyAgent, many, ms) },
        { name: 'few', measure: signUs(fewAgent, few, ms) },
      ],
      targets: [{ of: 'many', against: 'few', atMost: 1.1 }],
    },
    {
      id: 'keys-lookup',
      title: `A key lookup with ${keys} keys against 2`,
      unit: 'µs',
      rounds,
      contenders: [
        { name: 'many', measure: lookupUs(manyAgent) },
        { name: 'few', measure: lookupUs(fewAgent) },
      ],
      targets: [{ of: 'many', against: 'few', atMost: 1.1 }],
    },
  ];
}

async function startWith(cleanup: Cleanup, hsm: SoftHsm, token: Token): Promise<string> {
  const rules = twentyRules([userInfo().username]);
  const agent = await startAgent(cleanup, {
    folder: scratchFolder(cleanup),
    hsm,
    tokens: [token],
    ...(rules && { rules }),
  });
  await agent.unlock();
  return agent.socket;
}

function signUs(socket: string, token: Token, ms: number) {
  const spki = token.key('p256').publicKeyFile;
  const spec = { target: 'keyagent', alg: 'ecdsa-sha256', spki, uri: 'pkcs11:object=p256', socket } as const;
  return async (): Promise<number> => (await runSigner(spec, { processes: 1, threads: 1, ms })).medianUs;
}

/** Median of 500. */
function lookupUs(socket: string) {
  return async (): Promise<number> => {
    const client = await connect({ socket });
    const durations: number[] = [];
    for (let i = 0; i < 500; i++) {
      const start = performance.now();
      await client.key('pkcs11:object=p256');
      durations.push((performance.now() - start) * 1000);
    }
    client.close();
    return durations.sort((a, b) => a - b)[250] ?? NaN;
  };
}
