/**
 * Who may use which key for what, through a real socket with real uids, groups, cgroups and executables: every cell of
 * a table against the expected decision.
 */
import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { createHash, generatePrimeSync, randomBytes } from 'node:crypto';
import { copyFileSync } from 'node:fs';
import path from 'node:path';
import { test } from 'node:test';
import type { AlgorithmName } from '@keyagent/protocol';
import { account, isRoot } from './support/account.js';
import { Asker, type Identity, type Outcome, type Question } from './support/asker.js';
import { auditOf } from './support/audit.js';
import { cgroupRoot, makeCgroup } from './support/cgroup.js';
import { cleanupAfter, type Cleanup } from './support/cleanup.js';
import { deploy, type Deployment } from './support/deployment.js';
import { scratchFolder } from './support/scratch.js';

const keys = [
  { label: 'www', type: 'rsa:2048' },
  { label: 'mail', type: 'EC:prime256v1' },
] as const;
const [wwwData, games, daemon] = [account('www-data'), account('games'), account('daemon')];
const overflow = { name: 'nobody', group: 'nogroup', uid: 65534, gid: 65534 };
const unit = `keyagent-test-${process.pid}.service`;

const rules = [
  { name: 'tls', keys: 'pkcs11:object=www', users: ['www-data'], purpose: 'tls-server' },
  {
    name: 'backup',
    keys: 'pkcs11:object=www',
    groups: ['backup'],
    operations: ['sign', 'decrypt'],
    mechanisms: ['rsa-pss', 'rsa-oaep'],
  },
  { name: 'mailer', keys: 'pkcs11:object=ma*', units: [unit], operations: ['sign'] },
  { name: 'games in its unit', keys: 'pkcs11:', users: ['games'], units: [unit], mechanisms: ['rsa-pkcs1'] },
  { name: 'node', keys: 'pkcs11:object=mail', users: ['daemon'], exe: [process.execPath] },
];

const forged = forgeries();
/** Everything that is asked of every key. */
const uses: Record<string, Omit<Question, 'uri'>> = {
  'pss message': signing('rsa-pss-sha256', Buffer.from('a message')),
  'pss digest': { ...signing('rsa-pss-sha256', createHash('sha256').update('x').digest()), digest: true },
  'pss tls 1.3': signing('rsa-pss-sha256', certificateVerify('server')),
  'pss tls 1.3 client': signing('rsa-pss-sha256', certificateVerify('client')),
  'pkcs1 message': signing('rsa-pkcs1-sha256', Buffer.from('a message')),
  'pkcs1 tls 1.2': signing('rsa-pkcs1-sha256', serverKeyExchange()),
  'pkcs1 tls 1.3': signing('rsa-pkcs1-sha256', certificateVerify('server')),
  ...Object.fromEntries(
    Object.entries(forged).map(([name, bytes]) => [name, signing('rsa-pss-sha256', bytes)]),
  ),
  'ecdsa message': signing('ecdsa-sha256', Buffer.from('a message')),
  'ecdsa tls 1.2': signing('ecdsa-sha256', serverKeyExchange()),
  oaep: { method: 'decrypt', alg: 'rsa-oaep-sha256', bytes: randomBytes(256).toString('base64') },
  'rsa key exchange': { method: 'decrypt', alg: 'rsa-pkcs1-tls', bytes: randomBytes(256).toString('base64') },
};

/** Cells that are allowed; all others must be denied. A mechanism that is not for the key is not a question of rules. */
const allowed: Record<string, string[]> = {
  'www-data': ['www pss tls 1.3', 'www pkcs1 tls 1.2'],
  games: [],
  'games, also in group backup': [
    'www pss message',
    'www pss digest',
    'www pss tls 1.3',
    'www pss tls 1.3 client',
    ...Object.keys(forged).map((name) => `www ${name}`),
    'www oaep',
  ],
  'games in the unit': [
    'mail ecdsa message',
    'mail ecdsa tls 1.2',
    'www pkcs1 message',
    'www pkcs1 tls 1.2',
    'www pkcs1 tls 1.3',
  ],
  'www-data in the unit': [
    'mail ecdsa message',
    'mail ecdsa tls 1.2',
    'www pss tls 1.3',
    'www pkcs1 tls 1.2',
  ],
  'games in a user unit of that name': [],
  'games in a cgroup of that name below another unit': [],
  'root in the unit': ['mail ecdsa message', 'mail ecdsa tls 1.2'],
  'the overflow uid in the unit': [],
  'the overflow uid': [],
  root: [],
  'daemon with node': ['mail ecdsa message', 'mail ecdsa tls 1.2'],
  'daemon with a copy of node': [],
};

const machine =
  isRoot && cgroupRoot() !== undefined ? false : 'needs root and a cgroup2 mount, for real identities';

test('every cell of the table is decided as the rules say, and audited', { skip: machine }, async (t) => {
  const cleanup = cleanupAfter(t);
  const deployment = await deployWith(cleanup, rules);
  for (const [name, start] of Object.entries(peers(cleanup, deployment))) {
    await t.test(name, async () => {
      const asker = await start();
      for (const { label, type } of keys) {
        for (const [use, question] of Object.entries(uses)) {
          if (question.alg.startsWith('rsa') !== type.startsWith('rsa')) continue;
          const before = auditOf(deployment.agent).length;
          const uri = deployment.uri(label, 'private');
          const outcome = await asker.ask({ ...question, uri });
          assert.equal(
            decision(outcome),
            allowed[name]?.includes(`${label} ${use}`) === true,
            `${label} ${use}: ${JSON.stringify(outcome)}`,
          );
          const [record, ...others] = auditOf(deployment.agent).slice(before);
          assert.deepEqual(others, []);
          assert.deepEqual(
            [record?.outcome, record?.pid, record?.alg, record?.rule !== undefined],
            [outcome.code, asker.pid, question.alg, decision(outcome)],
          );
        }
      }
    });
  }
});

function peers(cleanup: Cleanup, { agent }: Deployment): Record<string, () => Promise<Asker>> {
  const as = (identity: Identity, cgroup?: string) => () =>
    Asker.start(cleanup, {
      socket: agent.socket,
      identity,
      ...(cgroup === undefined ? {} : { cgroup: makeCgroup(cleanup, cgroup) }),
    });
  const backup = account('backup').gid;
  const root = { uid: 0, gid: 0, groups: [] };
  return {
    'www-data': as(alone(wwwData)),
    games: as(alone(games)),
    'games, also in group backup': as({ ...alone(games), groups: [backup] }),
    'games in the unit': as(alone(games), `/system.slice/${unit}`),
    'www-data in the unit': as(alone(wwwData), `/system.slice/${unit}`),
    'games in a user unit of that name': as(
      alone(games),
      `/user.slice/user-5.slice/user@5.service/app.slice/${unit}`,
    ),
    'games in a cgroup of that name below another unit': as(
      alone(games),
      `/system.slice/keyagent-other-${process.pid}.service/${unit}`,
    ),
    'root in the unit': as(root, `/system.slice/${unit}`),
    'the overflow uid in the unit': as(alone(overflow), `/system.slice/${unit}`),
    'the overflow uid': as(alone(overflow)),
    root: as(root),
    'daemon with node': as(alone(daemon)),
    'daemon with a copy of node': () => {
      const copy = path.join(scratchFolder(cleanup), 'node');
      copyFileSync(process.execPath, copy);
      return Asker.start(cleanup, { socket: agent.socket, identity: alone(daemon) }, copy);
    },
  };
}

function alone({ uid, gid }: { uid: number; gid: number }): Identity {
  return { uid, gid, groups: [] };
}

/** Whether the rules let it pass: random bytes do not decrypt. */
function decision({ code }: Outcome): boolean {
  assert.ok(['ok', 'DECRYPT_FAILED', 'DENIED'].includes(code), code);
  return code !== 'DENIED';
}

function deployWith(cleanup: Cleanup, rule: readonly Record<string, unknown>[]): Promise<Deployment> {
  return deploy(cleanup, { keys, agent: { rules: rule, agentSettings: { socket_mode: '0666' } } });
}

function signing(alg: AlgorithmName, message: Buffer): Omit<Question, 'uri'> {
  return { method: 'sign', alg, bytes: message.toString('base64') };
}

function certificateVerify(side: 'server' | 'client'): Buffer {
  const start = `${' '.repeat(64)}TLS 1.3, ${side} CertificateVerify\0`;
  return Buffer.concat([Buffer.from(start), randomBytes(48)]);
}

/** Two randoms, x25519, its public value. */
function serverKeyExchange(): Buffer {
  return Buffer.concat([randomBytes(64), Buffer.of(3, 0, 29, 32), randomBytes(32)]);
}

/** What somebody who took over a server would like to have signed, and it is no message of TLS: for rules without a purpose. */
function forgeries(): Record<string, Buffer> {
  const [verify, exchange] = [certificateVerify('server'), serverKeyExchange()];
  const jwt = ['{"alg":"PS256"}', `{"sub":"${verify.toString('latin1', 0, 98)}"}`];
  const offTheCurve = Buffer.concat([exchange.subarray(0, 64), Buffer.of(3, 0, 23, 65, 4), randomBytes(64)]);
  const group = generatePrimeSync(1024, { bigint: false });
  const vector = (bytes: Uint8Array): Buffer =>
    Buffer.concat([Buffer.of(bytes.length >> 8, bytes.length & 255), bytes]);
  return {
    'pss tls 1.3 and a byte': Buffer.concat([verify, Buffer.of(0)]),
    'pss tls 1.3 without its last byte': verify.subarray(0, -1),
    'pss tls 1.3 with another blank': Buffer.concat([Buffer.of(0x21), verify.subarray(1)]),
    'pss tls 1.2 and a byte': Buffer.concat([exchange, Buffer.of(0)]),
    'pss tls 1.2 with a point off the curve': offTheCurve,
    'pss tls 1.2 with a group of its own': Buffer.concat([
      exchange.subarray(0, 64),
      ...[Buffer.from(group), Buffer.of(2), Buffer.of(4)].map(vector),
    ]),
    'pss certificate request': certificateRequest('TLS 1.3, server CertificateVerify'),
    'pss jwt': Buffer.from(jwt.map((part) => Buffer.from(part).toString('base64url')).join('.')),
  };
}

/** What a certificate request's signature is over: the first element of the request, after its own header. */
function certificateRequest(name: string): Buffer {
  const key = ['-newkey', 'rsa:2048', '-noenc', '-keyout', '/dev/null'];
  const options = ['req', '-new', ...key, '-subj', `/CN=${name}`, '-outform', 'DER'];
  const der = execFileSync('openssl', options, { stdio: ['ignore', 'pipe', 'ignore'] });
  return der.subarray(4, 8 + der.readUInt16BE(6));
}
