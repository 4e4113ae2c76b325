/** docs/servers/: every code block of every page is what `keyagent conf` prints, and works as it stands. */
import assert from 'node:assert/strict';
import { readdirSync } from 'node:fs';
import path from 'node:path';
import { test, type TestContext } from 'node:test';
import { parse } from 'smol-toml';
import { startBackend } from './servers/backend.js';
import { startDemandingServer } from './servers/curl.js';
import { asRoot, deployFleet, kinds, type KindName } from './servers/fleet.js';
import { makeSite, machineOf, stepsOf, type Program } from './servers/site.js';
import { Tree } from './servers/tree.js';
import { account, serverUser } from './support/account.js';
import { cleanupAfter, type Cleanup } from './support/cleanup.js';
import { runCommand, mustRun } from './support/command.js';
import { Daemon } from './support/daemon.js';
import type { Deployment } from './support/deployment.js';
import { fetchPage } from './support/handshakes.js';
import { blocksOf, type Block } from './support/markdown.js';
import { keyagentCommand, root } from './support/paths.js';
import { acceptsTcp, freePort } from './support/port.js';
import { scratchFolder } from './support/scratch.js';
import { waitFor } from './support/wait.js';

const uri = 'pkcs11:token=web;object=www;type=private';
const keys = [{ label: 'www', type: 'EC:prime256v1' }] as const;

const pages: Record<Program, KindName> = {
  apache: 'Apache event',
  haproxy: 'haproxy',
  nginx: 'nginx',
  postgres: 'PostgreSQL',
  stunnel: 'stunnel',
};

/** Blocks of each page. Beside those that are executed here: servers-engine.test.ts has two, servers-hold.test.ts the last of three pages. */
const blocks = {
  apache: 3 + 2 + 1,
  curl: 2,
  haproxy: 3 + 1,
  matrix: 0,
  nginx: 3 + 1,
  node: 4,
  postgres: 3,
  stunnel: 3,
};

test('every block of every page in docs/servers/ is tried', () => {
  const names = readdirSync(path.join(root, 'docs/servers')).map((name) => path.basename(name, '.md'));
  const found = names.map((name) => [name, blocksOf(`servers/${name}.md`).length] as const);
  assert.deepEqual(Object.fromEntries(found), blocks);
});

for (const [page, kind] of Object.entries(pages) as [Program, KindName][]) {
  test(
    `docs/servers/${page}.md: ${kind} serves after its commands, with its rule and its sockets`,
    asRoot,
    async (t) => {
      const cleanup = cleanupAfter(t);
      const [settings, commands, configuration] = blocksOf(`servers/${page}.md`);
      const deployment = await deployAsWritten(cleanup, settings);
      const printed = await deployment.agent.mustKeyagent(['conf', page, 'pkcs11:token=web;object=www']);
      assert.deepEqual(stepsOf(printed), commands?.text.trimEnd().split('\n'));
      assert.equal(printed.slice(printed.indexOf('\n\n') + 2), configuration?.text);

      const backendPort = await startBackend(cleanup);
      const site = await makeSite(cleanup, deployment, { keys: ['www'], backendPort });
      const server = await kinds[kind].start(site);
      const target = {
        port: server.port('www'),
        ca: deployment.authority.root,
        dialogue: kinds[kind].dialogue,
      };
      await fetchPage(target);
      await server.stop();
    },
  );
}

test('docs/servers/curl.md: a server that demands a certificate answers', asRoot, async (t) => {
  const cleanup = cleanupAfter(t);
  const [settings, commands] = blocksOf('servers/curl.md');
  const deployment = await deployAsWritten(cleanup, settings);
  const { port, peers, close } = await startDemandingServer(deployment);
  cleanup.after(close);
  const { uid, gid } = serverUser();
  const { folder } = deployment;
  await mustRun('install', ['-d', '-o', String(uid), path.join(folder, 'home')]);
  const { stdout } = await mustRun('sh', ['-euc', (commands?.text ?? '').replace('8443', String(port))], {
    ...{ uid, gid, cwd: path.join(folder, 'home') },
    env: { ...environmentOf(deployment), CURL_CA_BUNDLE: deployment.authority.rootFile },
  });
  assert.equal(stdout, 'ok\n');
  assert.equal(peers.length, 1);
});

test('docs/servers/node.md: the server in it serves', asRoot, async (t) => {
  const cleanup = cleanupAfter(t);
  const [settings, commands, script, start] = blocksOf('servers/node.md');
  const deployment = await deployAsWritten(cleanup, settings);
  const env = environmentOf(deployment);
  const printed = await deployment.agent.mustKeyagent(['conf', 'node', uri]);
  const written = `${commands?.text ?? ''}${start?.text ?? ''}`;
  assert.deepEqual(stepsOf(printed), written.trimEnd().split('\n'));

  const tree = new Tree(machineOf(deployment.folder));
  await tree.run([commands?.text ?? ''], env);
  const port = await freePort();
  tree.write('/server.js', tree.rewrite(script?.text ?? '').replace('8443', `${String(port)}, '127.0.0.1'`));
  const { name, group } = serverUser();
  const become = ['setpriv', `--reuid=${name}`, `--regid=${group}`, '--init-groups'];
  const daemon = new Daemon(cleanup, {
    command: 'sh',
    args: ['-euc', `cd ${tree.folder}; exec ${become.join(' ')} ${tree.rewrite(start?.text ?? '')}`],
    logFile: tree.path('/var/log/node'),
  });
  await waitFor('Node accepts connections', () => {
    daemon.mustRun();
    return acceptsTcp(port);
  });
  const { body } = await fetchPage({ port, ca: deployment.authority.root });
  assert.equal(body, 'a page of Node\n');
});

test('keyagent conf refuses what it does not know, and says what to do', async (t: TestContext) => {
  const cwd = scratchFolder(cleanupAfter(t));
  const cases: [string[], number, RegExp][] = [
    [['conf', 'lighttpd', uri], 64, /apache.*nginx/],
    [['conf', 'nginx'], 65, /name the key: keyagent conf nginx URI/],
    [['conf', 'openssl', uri], 65, /leave the URI out/],
    [['conf', 'nginx', 'www.key'], 65, /does not begin with "pkcs11:"/],
    [['conf', 'nginx', `${uri}?pin-value=1234`], 65, /pin-value/],
  ];
  for (const [args, expected, message] of cases) {
    const { status, stdout, stderr } = await runCommand(
      keyagentCommand,
      ['--socket', '/nowhere/agent.sock', ...args],
      {
        cwd,
      },
    );
    assert.deepEqual([status, stdout], [expected, ''], args.join(' '));
    assert.match(stderr, message);
  }
});

/** An agent with the [agent] and [[rule]] of a page. */
function deployAsWritten(cleanup: Cleanup, settings: Block | undefined): Promise<Deployment> {
  assert.equal(settings?.language, 'toml');
  return deployFleet(cleanup, keys, (tree, socket) => {
    const text = tree.rewrite(settings.text).replace('/run/keyagent/agent.sock', socket);
    const { agent, rule } = parse(text) as {
      agent: Record<string, unknown>;
      rule: Record<string, unknown>[];
    };
    for (const { users } of rule) for (const user of users as string[]) account(user);
    return { agentSettings: agent, rules: rule };
  });
}

function environmentOf({ agent }: Deployment): Record<string, string> {
  return { KEYAGENT_SOCK: agent.socket, PATH: `${path.dirname(keyagentCommand)}:${process.env.PATH ?? ''}` };
}
