/** Users wait for a token in turn: what one of them floods it with, the others do not wait for. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { account, isRoot } from './support/account.js';
import { auditOf } from './support/audit.js';
import { cgroupRoot, makeCgroup } from './support/cgroup.js';
import { cleanupAfter, type Cleanup } from './support/cleanup.js';
import { deploy, type Deployment } from './support/deployment.js';
import { Load, type LoadSpec } from './support/load.js';

const [games, daemon] = [account('games'), account('daemon')];
const skip =
  isRoot && cgroupRoot() !== undefined ? false : 'needs root and a cgroup2 mount, for real identities';
/** In flight at the same time: on this many connections, as many as each may have. */
const flood = { connections: 16, inFlight: 64 };
const waiting = flood.connections * flood.inFlight;

function deployWith(cleanup: Cleanup, rules: Record<string, unknown>[]): Promise<Deployment> {
  return deploy(cleanup, {
    keys: [{ label: 'www', type: 'rsa:2048' }],
    agent: { rules, agentSettings: { socket_mode: '0666' } },
  });
}

type Who = Pick<LoadSpec, 'identity' | 'cgroup' | 'connections' | 'inFlight'>;

const as = ({ uid, gid }: typeof games) => ({ identity: { uid, gid, groups: [] } });

async function loads(cleanup: Cleanup, deployment: Deployment, ...each: Who[]): Promise<Load[]> {
  const target = {
    socket: deployment.agent.socket,
    uri: deployment.uri('www', 'private'),
    alg: 'rsa-pss-sha256',
  } as const;
  return Promise.all(each.map((who) => Load.start(cleanup, { ...target, ...who })));
}

/** Records of others between one record of the rule and the next, on average. */
function servedBetween(deployment: Deployment, rule: string): number {
  const rules = auditOf(deployment.agent).flatMap(({ event, rule: name }) =>
    event === 'sign' ? [name] : [],
  );
  const [first, last] = [rules.indexOf(rule), rules.lastIndexOf(rule)];
  const window = rules.slice(first, last + 1);
  const own = window.filter((name) => name === rule).length;
  return (window.length - own) / (own - 1);
}

/** The quiet one asks again and again, one request at a time, while the other floods. */
async function askBesideFlood(flooder: Load | undefined, quiet: Load | undefined): Promise<void> {
  assert.ok(flooder !== undefined && quiet !== undefined);
  flooder.flood();
  await quiet.sign(30);
  await flooder.rest();
}

test('a user who asks now and then is served before what another has waiting', { skip }, async (t) => {
  const cleanup = cleanupAfter(t);
  const deployment = await deployWith(cleanup, [
    { name: 'flooder', keys: 'pkcs11:', users: ['games'] },
    { name: 'quiet', keys: 'pkcs11:', users: ['daemon'] },
  ]);
  const quiet = { ...as(daemon), connections: 1, inFlight: 1 };
  const [one, other] = await loads(cleanup, deployment, { ...as(games), ...flood }, quiet);
  await askBesideFlood(one, other);
  const between = servedBetween(deployment, 'quiet');
  t.diagnostic(`${between.toFixed(0)} others between two of the quiet one, ${waiting} waiting`);
  assert.ok(between < waiting / 2, `${between} of ${waiting}`);
});

test('so is a unit of the same user, where rules go by unit', { skip }, async (t) => {
  const cleanup = cleanupAfter(t);
  const unit = (name: string) => `keyagent-test-${name}.service`;
  const deployment = await deployWith(
    cleanup,
    ['flooder', 'quiet'].map((name) => ({ name, keys: 'pkcs11:', units: [unit(name)] })),
  );
  const within = (name: string) => ({
    ...as(games),
    cgroup: makeCgroup(cleanup, `/system.slice/${unit(name)}`),
  });
  const quiet = { ...within('quiet'), connections: 1, inFlight: 1 };
  const [one, other] = await loads(cleanup, deployment, { ...within('flooder'), ...flood }, quiet);
  await askBesideFlood(one, other);
  const between = servedBetween(deployment, 'quiet');
  assert.ok(between < waiting / 2, `${between} of ${waiting}`);
});

test('a user who asks for much gets a fair share beside one that floods', { skip }, async (t) => {
  const cleanup = cleanupAfter(t);
  const deployment = await deployWith(cleanup, [{ keys: 'pkcs11:', users: ['games', 'daemon'] }]);
  const eager = { ...as(daemon), connections: 1, inFlight: 16 };
  const clock = { ...as(daemon), connections: 1, inFlight: 1 };
  const [one, other, third] = await loads(cleanup, deployment, { ...as(games), ...flood }, eager, clock);
  assert.ok(one !== undefined && other !== undefined && third !== undefined);
  one.flood();
  other.flood();
  await third.sign(100);
  const [theirs, its] = await Promise.all([one.rest(), other.rest()]);
  const share = its / ((theirs + its) / 2);
  t.diagnostic(`${(share * 100).toFixed(0)} % of its fair share`);
  assert.ok(share >= 0.4, `${its} of ${its + theirs}`);
});
