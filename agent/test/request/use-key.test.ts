import assert from 'node:assert/strict';
import { test } from 'node:test';
import { AgentError, parsePkcs11Pattern, type Params } from '@keyagent/protocol';
import type { AuditRecord } from '@keyagent/agent/audit/record.js';
import { Cancellation } from '@keyagent/agent/cancellation.js';
import type { HostResult } from '@keyagent/agent/host/host-protocol.js';
import { RateLimits } from '@keyagent/agent/policy/rate.js';
import type { Context } from '@keyagent/agent/request/context.js';
import { Holds } from '@keyagent/agent/request/holds.js';
import { sign } from '@keyagent/agent/request/sign.js';
import { TokenFault } from '@keyagent/agent/token/host-process.js';

const key = {
  uri: 'pkcs11:token=web;object=www',
  attributes: { token: 'web', object: 'www', type: 'private' },
  state: 'verified',
  mechanisms: ['ecdsa'],
  completed: [],
};
const asked: Params<'sign'> = { uri: key.uri, alg: 'ecdsa-sha256', digest: Buffer.alloc(32) };
const notFound = new AgentError('NOT_FOUND', 'no such key');
const failing = new TokenFault({ code: 'TOKEN_ERROR', message: 'the token failed', ckr: 'CKR_DEVICE_ERROR' });

const none = {} as HostResult<'sign'>;

/** The way of one request. */
interface Way {
  /** What becomes of it in the token; absent: nothing, for ever. */
  readonly run?: () => Promise<HostResult<'sign'>>;
  /** Absent: the key is found at once. */
  readonly find?: <T>(found: T) => T | Promise<T>;
  readonly uid?: number;
  readonly params?: Partial<Params<'sign'>>;
}

const succeed = (): Promise<HostResult<'sign'>> => Promise.resolve({ signature: Buffer.alloc(64, 1) });

/** The outcome, and what the token said. */
const ways: Record<string, [Way, AuditRecord['outcome'], cause?: string]> = {
  'is signed at once': [{ run: succeed }, 'ok'],
  'is signed when the key is there': [{ run: succeed, find: (found) => Promise.resolve(found) }, 'ok'],
  'fails in the token': [{ run: () => Promise.reject(failing) }, 'TOKEN_ERROR', 'CKR_DEVICE_ERROR'],
  'gets no reply of the protocol': [{ run: () => Promise.resolve(none) }, 'INTERNAL'],
  'is refused by the token': [
    {
      run: () => {
        throw failing;
      },
    },
    'TOKEN_ERROR',
    'CKR_DEVICE_ERROR',
  ],
  'is of nobody': [{ run: succeed, uid: 8 }, 'DENIED'],
  'is of root, whom no rule names': [{ run: succeed, uid: 0 }, 'DENIED'],
  'is for no key': [
    {
      find: () => {
        throw notFound;
      },
    },
    'NOT_FOUND',
  ],
  'waits in vain for its key': [{ find: () => Promise.reject(notFound) }, 'NOT_FOUND'],
  'asks for another operation': [{ run: succeed, params: { alg: 'rsa-oaep-sha256' } }, 'MECHANISM'],
  'is late': [{ params: { deadline_ms: 1 } }, 'TIMEOUT'],
  'is late while it waits for its key': [
    { find: () => new Promise(() => undefined), params: { deadline_ms: 1 } },
    'TIMEOUT',
  ],
};

for (const [what, [way, outcome, cause]] of Object.entries(ways)) {
  test(`a request that ${what} leaves one record and no timer`, async () => {
    const before = timers();
    const { end, records } = await askAgent(way);
    assert.equal(end, outcome);
    assert.deepEqual(
      records.map((record) => [record.event, record.outcome, record.cause]),
      [['sign', outcome, cause]],
    );
    assert.equal(timers(), before);
  });
}

test('a signature whose record cannot be written is not given', async () => {
  const full = new AgentError('BUSY', 'the audit log cannot be written');
  const { end } = await askAgent({ run: succeed }, () => Promise.reject(full));
  assert.equal(end, 'BUSY');
});

/** @returns the code of the error, or ok */
async function askAgent(
  { run, find = (found) => found, uid = 7, params = {} }: Way,
  written: () => Promise<void> = () => Promise.resolve(),
): Promise<{ end: string; records: AuditRecord[] }> {
  const records: AuditRecord[] = [];
  const write = (record: AuditRecord): Promise<void> => {
    records.push(record);
    return written();
  };
  const operations = { perform: run ?? (() => new Promise(() => undefined)) };
  const context = {
    tokens: { findAwaited: () => find({ token: { operations }, key }) },
    rules: [{ name: 'one', keys: parsePkcs11Pattern('pkcs11:'), uids: [7] }],
    rates: new RateLimits(),
    holds: new Holds(),
    audit: { record: write, note: write, requireWritable: () => undefined },
    requestTimeoutMs: 60_000,
    holdMs: 60_000,
  } as unknown as Context;
  const peer = { uid, gid: uid, groups: [], pid: 1 };
  const signing = sign({ ...asked, ...params }, { peer, cancellation: new Cancellation() }, context);
  const end = await signing.then(
    ({ signature }) => (signature.length > 64 ? 'ok' : 'no DER'),
    (error: unknown) => (error instanceof AgentError ? error.code : 'INTERNAL'),
  );
  return { end, records };
}

function timers(): number {
  return process.getActiveResourcesInfo().filter((name) => name === 'Timeout').length;
}
