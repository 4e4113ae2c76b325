/**
 * Plain HTTP while a login is under way and more handshakes come than a server has threads: what docs/servers/ says of it,
 * with `hold_max` and without.
 */
import assert from 'node:assert/strict';
import { test, type TestContext } from 'node:test';
import { parse } from 'smol-toml';
import { startBackend } from './servers/backend.js';
import { asRoot, deployFleet, kinds, type KindName } from './servers/fleet.js';
import { fetchPlain } from './servers/plain.js';
import type { Server } from './servers/server.js';
import { makeSite } from './servers/site.js';
import type { Tree } from './servers/tree.js';
import { cleanupAfter } from './support/cleanup.js';
import type { Agent } from './support/agent.js';
import { fetchPage, handshakes, type Target } from './support/handshakes.js';
import { blocksOf } from './support/markdown.js';
import { tcpSockets } from './support/proc.js';
import { waitFor } from './support/wait.js';

const keys = [{ label: 'www', type: 'EC:prime256v1' }] as const;

interface Stage {
  agent: Agent;
  server: Server;
  target: Target;
  httpPort: number;
}

type RuleTable = Record<string, unknown> & { hold_max?: number };

/** The rule that a page has for who serves plain HTTP too. */
function ruleOf(page: string): RuleTable {
  const blocks = blocksOf(`servers/${page}.md`).filter(({ language }) => language === 'toml');
  const { rule } = parse(blocks.at(-1)?.text ?? '') as { rule: RuleTable[] };
  return rule[0] ?? assert.fail(`the last configuration of ${page}.md has no rule`);
}

/** A server whose token is locked. */
async function stage(
  t: TestContext,
  kind: KindName,
  rule: RuleTable,
  adjust: (tree: Tree, httpPort: number) => void = () => undefined,
): Promise<Stage> {
  const cleanup = cleanupAfter(t);
  const deployment = await deployFleet(cleanup, keys, () => ({
    credential: false,
    counted: true,
    rules: [rule],
  }));
  const { agent, authority } = deployment;
  await agent.mustKeyagent(['lock']);
  const backendPort = await startBackend(cleanup);
  const site = await makeSite(cleanup, deployment, {
    keys: ['www'],
    backendPort,
    adjust: (tree) => {
      adjust(tree, site.httpPort);
    },
  });
  const server = await kinds[kind].start(site);
  const target = { port: server.port('www'), ca: authority.root };
  return { agent, server, target, httpPort: site.httpPort };
}

/** A login that takes long. `ended`: the operator knows; over: the token has answered. */
async function slowLogin(agent: Agent): Promise<{ ended: Promise<void>; isOver: () => boolean }> {
  const logins = () => agent.counting?.sleeps().get('C_Login') ?? 0;
  const [before, answers] = [logins(), agent.calls('C_Login')];
  agent.counting?.setFaults('C_Login sleep_ms=7000 count=1');
  const ended = agent.unlock();
  await waitFor('a login is under way', () => logins() > before);
  return { ended, isOver: () => agent.calls('C_Login') > answers };
}

/** Its frontend serves plain HTTP as well. */
function alsoPlain(tree: Tree, httpPort: number): void {
  tree.edit('/etc/haproxy/haproxy.cfg', (text) =>
    text.replace(/^( +bind )127\.0\.0\.1:.*$/m, `$&\n$1127.0.0.1:${String(httpPort)}`),
  );
}

for (const [page, adjust] of [
  ['nginx', undefined],
  ['haproxy', alsoPlain],
] as const) {
  test(
    `${page} as its page says: handshakes fail at once, plain HTTP goes on, the login ends it`,
    asRoot,
    async (t) => {
      const { agent, server, target, httpPort } = await stage(t, page, ruleOf(page), adjust);
      const login = await slowLogin(agent);
      const failing = handshakes({ ...target, count: 16, concurrency: 8 });
      for (let i = 0; i < 10; i++) await fetchPlain(httpPort);
      const { succeeded, failures } = await failing;
      assert.equal(login.isOver(), false);
      assert.deepEqual([succeeded, failures.length], [0, 16]);
      for (const failure of failures)
        assert.match(failure, /alert|ECONNRESET|closed during|disconnected before secure/);
      await login.ended;
      await fetchPage(target);
      await server.stop();
    },
  );
}

test(
  'Apache: as many handshakes wait as its rule says, the rest of its processes serves plain HTTP',
  asRoot,
  async (t) => {
    const rule = ruleOf('apache');
    assert.ok((rule.hold_max ?? Infinity) < 150, 'MaxRequestWorkers as Debian sets it');
    const few = (tree: Tree) => {
      tree.edit('/etc/apache2/mods-available/mpm_prefork.conf', (text) =>
        text.replace(/(?<=MaxRequestWorkers\s+)150/, '5'),
      );
    };
    const { agent, server, target, httpPort } = await stage(
      t,
      'Apache prefork',
      { ...rule, hold_max: 3 },
      few,
    );
    const login = await slowLogin(agent);
    const early: string[] = [];
    const all = Array.from({ length: 8 }, () =>
      fetchPage(target).then(
        () => 'served',
        () => {
          early.push(login.isOver() ? 'late' : 'at once');
          return 'failed';
        },
      ),
    );
    await waitFor('the others have failed', () => early.length === 5);
    for (let i = 0; i < 3; i++) await fetchPlain(httpPort);
    assert.equal(login.isOver(), false);
    await login.ended;
    assert.deepEqual((await Promise.all(all)).sort(), [
      ...Array<string>(5).fill('failed'),
      ...Array<string>(3).fill('served'),
    ]);
    assert.deepEqual(early, Array(5).fill('at once'));
    await server.stop();
  },
);

test(
  'without hold_max, plain HTTP waits in nginx for the login that a handshake of its worker waits for',
  asRoot,
  async (t) => {
    const { hold_max: _, ...rule } = ruleOf('nginx');
    const one = (tree: Tree) => {
      tree.edit('/etc/nginx/nginx.conf', (text) =>
        text.replace('worker_processes auto', 'worker_processes 1'),
      );
    };
    const { agent, server, target, httpPort } = await stage(t, 'nginx', rule, one);
    const worker = await waitFor('its worker is there', () => server.children()[0]);
    await waitFor('only its listening sockets are left', () => tcpSockets(worker).length === 2);
    const login = await slowLogin(agent);
    const handshake = fetchPage(target);
    await waitFor('it has the connection', () => tcpSockets(worker).length === 3);
    let early = 0;
    for (;;) {
      await fetchPlain(httpPort);
      if (login.isOver()) break;
      early++;
    }
    // One may come before the handshake's first message.
    assert.ok(early <= 1, 'a worker that waits answers: what the page says is not true any more');
    await login.ended;
    await handshake;
    await server.stop();
  },
);
