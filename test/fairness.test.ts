/** Users wait for a token in turn: what one of them floods it with, the others do not wait for. */
import assert from 'node:assert/strict';
import { publicEncrypt } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { test } from 'node:test';
import { connectCaller, type Caller } from '@keyagent/protocol';
import { account, isRoot } from './support/account.js';
import { cgroupRoot, makeCgroup } from './support/cgroup.js';
import { cleanupAfter, type Cleanup } from './support/cleanup.js';
import type { CountingModule } from './support/counting-module.js';
import { deploy, type Deployment } from './support/deployment.js';
import { Load, type LoadSpec } from './support/load.js';
import { waitFor } from './support/wait.js';

const [games, daemon] = [account('games'), account('daemon')];
const skip =
  isRoot && cgroupRoot() !== undefined ? false : 'needs root and a cgroup2 mount, for real identities';
/** More than wait in the agent at the same time, on as many connections as that takes. */
const flood = { connections: 72, inFlight: 64 };
const waitingMax = 4096;
const asked = 10;

type Who = Partial<LoadSpec>;

const as = ({ uid, gid }: typeof games): Who => ({ identity: { uid, gid, groups: [] } });

async function start(cleanup: Cleanup, deployment: Deployment, who: Who): Promise<Load> {
  const { socket } = deployment.agent;
  const target = { socket, uri: deployment.uri('www', 'private'), alg: 'rsa-pss-sha256' } as const;
  return Load.start(cleanup, { ...target, connections: 1, inFlight: 1, ...who });
}

/** A token that does one thing at a time, and shows the order: who floods signs, the quiet one decrypts. */
class Counter {
  private readonly begun: number;

  private constructor(
    private readonly deployment: Deployment,
    private readonly counting: CountingModule,
    private readonly operator: Caller,
  ) {
    // Proofs of keys at the unlock.
    this.begun = this.calls.length;
  }

  static async open(cleanup: Cleanup, rules: Record<string, unknown>[]): Promise<Counter> {
    const deployment = await deploy(cleanup, {
      keys: [
        { label: 'www', type: 'rsa:2048' },
        { label: 'ec', type: 'EC:prime256v1' },
      ],
      agent: {
        rules,
        counted: true,
        agentSettings: { socket_mode: '0666', request_timeout_ms: 120_000 },
        tokenSettings: { sessions: 1, rescan_ms: 0 },
      },
    });
    const { counting, controlSocket } = deployment.agent;
    assert.ok(counting !== undefined);
    const operator = await connectCaller(controlSocket);
    cleanup.after(() => {
      operator.close();
    });
    return new Counter(deployment, counting, operator);
  }

  /** The quiet one asks while the agent can take no more of the flood; then all is served, in this order. */
  async serve(cleanup: Cleanup, flooder: Who, quiet: Who): Promise<void> {
    const { deployment, counting } = this;
    const one = await start(cleanup, deployment, {
      ...{ ...flooder, ...flood, uri: deployment.uri('ec', 'private'), alg: 'ecdsa-sha256' },
    });
    const key = { key: readFileSync(deployment.token.key('www').publicKeyFile), oaepHash: 'sha256' };
    const ciphertext = publicEncrypt(key, Buffer.from('a secret')).toString('hex');
    const other = await start(cleanup, deployment, {
      ...{ ...quiet, inFlight: asked, alg: 'rsa-oaep-sha256', ciphertext },
    });
    // The token stands still as long as it takes to ask.
    counting.setFaults('C_Sign sleep_ms=3000');
    one.flood();
    await waitFor('the queue is full', async () => (await this.inFlight(one)) > waitingMax);
    const answered = other.sign(asked);
    const isAsking = async (): Promise<boolean> =>
      (await this.inFlight(other)) === asked || this.order.includes('D');
    await waitFor('the quiet one has asked', isAsking);
    const before = this.order.length;
    counting.setFaults();
    assert.equal((await answered).count, asked);
    const rest = this.order;
    await one.rest();
    const first = rest.indexOf('D');
    // What was in the token, and the turn of who floods.
    assert.ok(
      first <= before + 2,
      `${first} operations of the flood came first, ${before} of them before it asked`,
    );
    assert.equal(rest.slice(first, rest.lastIndexOf('D') + 1), Array(asked).fill('D').join('S'));
  }

  /** What the token did, one letter for each operation. */
  private get order(): string {
    return this.calls
      .slice(this.begun)
      .map((call) => (call === 'C_Sign' ? 'S' : 'D'))
      .join('');
  }

  private get calls(): string[] {
    return this.counting.order('C_Sign', 'C_Decrypt');
  }

  /** Requests of a process that are unanswered. */
  private async inFlight({ pid }: Load): Promise<number> {
    const { sessions } = await this.operator.call('sessions', {});
    return sessions.filter((each) => each.pid === pid).reduce((sum, each) => sum + each.in_flight, 0);
  }
}

test('a user is served in turn with one whose flood fills the queue', { skip }, async (t) => {
  const cleanup = cleanupAfter(t);
  const counter = await Counter.open(cleanup, [
    { name: 'flooder', keys: 'pkcs11:', users: ['games'] },
    { name: 'quiet', keys: 'pkcs11:', users: ['daemon'] },
  ]);
  await counter.serve(cleanup, as(games), as(daemon));
});

test('so is a unit of the same user, where rules go by unit', { skip }, async (t) => {
  const cleanup = cleanupAfter(t);
  const unit = (name: string) => `keyagent-test-${name}-${process.pid}.service`;
  const within = (name: string): Who => ({
    ...as(games),
    cgroup: makeCgroup(cleanup, `/system.slice/${unit(name)}`),
  });
  const counter = await Counter.open(
    cleanup,
    ['flooder', 'quiet'].map((name) => ({ name, keys: 'pkcs11:', units: [unit(name)] })),
  );
  await counter.serve(cleanup, within('flooder'), within('quiet'));
});

test('a user who asks for much gets a fair share beside one that floods', { skip }, async (t) => {
  const cleanup = cleanupAfter(t);
  const deployment = await deploy(cleanup, {
    keys: [{ label: 'www', type: 'rsa:2048' }],
    agent: {
      rules: [{ keys: 'pkcs11:', users: ['games', 'daemon'] }],
      agentSettings: { socket_mode: '0666' },
    },
  });
  const one = await start(cleanup, deployment, { ...as(games), connections: 16, inFlight: 64 });
  const other = await start(cleanup, deployment, { ...as(daemon), inFlight: 16 });
  const clock = await start(cleanup, deployment, as(daemon));
  one.flood();
  other.flood();
  await clock.sign(100);
  const [theirs, its] = await Promise.all([one.rest(), other.rest()]);
  const share = its / ((theirs + its) / 2);
  t.diagnostic(`${(share * 100).toFixed(0)} % of its fair share`);
  assert.ok(share >= 0.4, `${its} of ${its + theirs}`);
});
