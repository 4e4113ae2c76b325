/** Every server of the matrix, and a deployment in which each finds its keys under its unit's user. */
import { mkdirSync } from 'node:fs';
import path from 'node:path';
import { isRoot, serverUser } from '../support/account.js';
import type { AgentSpec } from '../support/agent.js';
import type { Cleanup } from '../support/cleanup.js';
import { deploy, type Deployment } from '../support/deployment.js';
import { http, postgres, type Dialogue } from '../support/dialogue.js';
import { scratchFolder } from '../support/scratch.js';
import type { KeySpec } from '../support/softhsm.js';
import { startApache } from './apache.js';
import { startHaproxy } from './haproxy.js';
import { startNginx } from './nginx.js';
import { startPostgres } from './postgres.js';
import { startOpensslServer } from './s-server.js';
import type { Server } from './server.js';
import { machineOf, type Site } from './site.js';
import { startStunnel } from './stunnel.js';
import { Tree } from './tree.js';

export interface Kind {
  start: (site: Site) => Promise<Server>;
  dialogue: Dialogue;
  /** Its configuration has room for one key: several are several servers. */
  oneKey: boolean;
}

const ofMany = { dialogue: http, oneKey: false };

export const kinds = {
  'Apache event': { ...ofMany, start: (site) => startApache('event', site) },
  'Apache worker': { ...ofMany, start: (site) => startApache('worker', site) },
  'Apache prefork': { ...ofMany, start: (site) => startApache('prefork', site) },
  nginx: { ...ofMany, start: (site) => startNginx(site) },
  haproxy: { ...ofMany, start: startHaproxy },
  stunnel: { ...ofMany, start: startStunnel },
  PostgreSQL: { start: startPostgres, dialogue: postgres, oneKey: true },
  'openssl s_server': { start: (site) => startOpensslServer(site), dialogue: http, oneKey: true },
} as const satisfies Record<string, Kind>;

export type KindName = keyof typeof kinds;
export const kindNames = Object.keys(kinds) as KindName[];

/** Only root starts a server that drops root. */
export const asRoot = { skip: isRoot ? false : 'needs root, to start servers as their units do' };

const users = ['www-data', 'haproxy', 'stunnel4', 'postgres'];

type Settings = (tree: Tree, clientSocket: string) => Partial<AgentSpec>;

/** An unlocked agent with the sockets that docs/servers/ asks for; it unlocks itself when it starts again. */
export function deployFleet(
  cleanup: Cleanup,
  keys: readonly KeySpec[],
  settings: Settings = () => ({}),
): Promise<Deployment> {
  const folder = scratchFolder(cleanup);
  const tree = new Tree(machineOf(folder));
  const clientSocket = path.join(folder, 'run/agent.sock');
  const { agentSettings, ...agent } = settings(tree, clientSocket);
  const sockets = isRoot ? socketsOf(tree, clientSocket) : [];
  for (const { path: file } of sockets) mkdirSync(path.dirname(file), { recursive: true });
  return deploy(cleanup, {
    folder,
    keys,
    issuers: true,
    agent: {
      credential: true,
      rules: [{ name: 'servers', keys: 'pkcs11:', users: isRoot ? users : [serverUser().name] }],
      ...agent,
      agentSettings: { sockets, ...agentSettings },
    },
  });
}

function socketsOf(tree: Tree, clientSocket: string): { path: string; mode: string; group: string }[] {
  return [
    { path: path.join(tree.path('/var/lib/haproxy'), clientSocket), mode: '0660', group: 'haproxy' },
    { path: tree.path('/run/keyagent/stunnel.sock'), mode: '0660', group: 'stunnel4' },
    { path: tree.path('/run/keyagent/postgres.sock'), mode: '0660', group: 'postgres' },
  ];
}
