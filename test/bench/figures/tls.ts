/** Apache with a key in the token beside the same Apache with a PEM key: full handshakes, TLS 1.3, no resumption. */
import path from 'node:path';
import { serverUser } from '../../support/account.js';
import { Apache, type KeyPair, type Mpm } from '../../support/apache.js';
import { Cleanup } from '../../support/cleanup.js';
import { mustRun } from '../../support/command.js';
import { fetchPage } from '../../support/handshakes.js';
import { makeKeyFile } from '../../support/softhsm.js';
import { makeField, twentyRules, type BenchKey, type Field } from '../field.js';
import type { Contender, Figure } from '../figure.js';

const names: Record<BenchKey, string> = { p256: 'P-256', rsa2048: 'RSA-2048' };
const keyTypes = { p256: 'EC:prime256v1', rsa2048: 'rsa:2048' } as const;
const leastShare: Record<BenchKey, number> = { rsa2048: 0.74, p256: 0.92 };
const concurrency = 8;

export async function tlsFigures(
  cleanup: Cleanup,
  { rounds, handshakes }: { rounds: number; handshakes: number },
): Promise<Figure[]> {
  const rules = twentyRules([serverUser().name], 'tls-server');
  const field = await makeField(cleanup, { ...(rules && { rules }) });
  const figures: Figure[] = [];
  for (const mpm of ['event', 'prefork'] as const) {
    for (const key of ['rsa2048', 'p256'] as const) {
      const servers = await startBoth(cleanup, field, mpm, key);
      figures.push({
        id: `apache-${mpm}-${key}`,
        title: `Apache ${mpm}, TLS 1.3, ${names[key]}, full handshakes`,
        unit: '/s',
        rounds,
        contenders: servers.map(({ name, apache }) => handshakeRate(name, apache, handshakes)),
        targets: [{ of: 'keyagent', against: 'PEM key', atLeast: leastShare[key] }],
      });
    }
  }
  figures.push(await startFigure(field, rounds));
  return figures;
}

interface Server {
  name: 'keyagent' | 'PEM key';
  apache: Apache;
}

async function startBoth(cleanup: Cleanup, field: Field, mpm: Mpm, key: BenchKey): Promise<Server[]> {
  const pem = await pemPair(field, key);
  return [
    { name: 'keyagent', apache: await startApache(cleanup, field, mpm, agentPair(field, key)) },
    { name: 'PEM key', apache: await startApache(cleanup, field, mpm, pem) },
  ];
}

function startApache(cleanup: Cleanup, field: Field, mpm: Mpm, pair: KeyPair): Promise<Apache> {
  return Apache.start(cleanup, {
    folder: field.folder,
    mpm,
    pairs: [pair],
    chainFile: field.authority.chainFile,
    env: field.opensslEnv,
    directives: ['SSLProtocol TLSv1.3', 'SSLSessionTickets off'],
  });
}

function agentPair({ token }: Field, key: BenchKey): KeyPair {
  const uri = `pkcs11:token=${token.label};object=${key}`;
  return { certificate: `${uri};type=cert`, key: `${uri};type=private` };
}

async function pemPair({ folder, authority }: Field, key: BenchKey): Promise<KeyPair> {
  const file = path.join(folder, `${key}-pem.key`);
  const publicFile = path.join(folder, `${key}-pem.pub`);
  await makeKeyFile(file, keyTypes[key]);
  await mustRun('openssl', ['pkey', '-in', file, '-pubout', '-out', publicFile]);
  return { certificate: await authority.certify(`pem-${key}`, publicFile), key: file };
}

/** ab counts a connection as complete only with its answer. */
function handshakeRate(name: string, { port }: Apache, count: number): Contender {
  return {
    name,
    measure: async () => {
      const url = `https://127.0.0.1:${port}/`;
      const { stdout } = await mustRun('ab', [
        '-q',
        '-n',
        String(count),
        '-c',
        String(concurrency),
        '-f',
        'TLS1.3',
        url,
      ]);
      const number = (label: string): number =>
        Number(new RegExp(`^${label}: +([\\d.]+)`, 'm').exec(stdout)?.[1]);
      if (
        number('Complete requests') !== count ||
        number('Failed requests') !== 0 ||
        stdout.includes('Non-2xx')
      ) {
        throw new Error(`handshakes failed:\n${stdout}`);
      }
      return number('Requests per second');
    },
  };
}

/** From exec to a page over the first handshake. */
async function startFigure(field: Field, rounds: number): Promise<Figure> {
  const start = (pair: KeyPair) => async (): Promise<number> => {
    const own = new Cleanup();
    try {
      const begin = performance.now();
      const { port } = await startApache(own, field, 'event', pair);
      await fetchPage({ port, ca: field.authority.root, tls: { minVersion: 'TLSv1.3' } });
      return performance.now() - begin;
    } finally {
      await own.run();
    }
  };
  const pem = await pemPair(field, 'rsa2048');
  return {
    id: 'apache-start',
    title: 'Start of Apache to the first page over TLS, RSA-2048',
    unit: 'ms',
    rounds,
    contenders: [
      { name: 'keyagent', measure: start(agentPair(field, 'rsa2048')) },
      { name: 'PEM key', measure: start(pem) },
    ],
    targets: [{ of: 'keyagent', against: 'PEM key', atMost: 1.5 }],
  };
}
