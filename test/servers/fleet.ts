/** Every server of the matrix, and a deployment in which each finds its keys under its unit's user. */
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
  /** Which of its processes and threads use the key. */
  model: string;
  /** Its configuration has room for one key: several are several servers. */
  oneKey: boolean;
}

const ofMany = { dialogue: http, oneKey: false };

export const kinds = {
  'Apache event': {
    ...ofMany,
    model: 'children with threads and an event loop',
    start: (site) => startApache('event', site),
  },
  'Apache worker': {
    ...ofMany,
    model: 'children with threads',
    start: (site) => startApache('worker', site),
  },
  'Apache prefork': {
    ...ofMany,
    model: 'children forked before they are needed',
    start: (site) => startApache('prefork', site),
  },
  nginx: { ...ofMany, model: 'children with an event loop', start: startNginx },
  haproxy: { ...ofMany, model: 'one child, threads with an event loop', start: startHaproxy },
  stunnel: { ...ofMany, model: 'a thread for each connection', start: startStunnel },
  PostgreSQL: {
    start: startPostgres,
    model: 'a child forked for each connection',
    dialogue: postgres,
    oneKey: true,
  },
  'openssl s_server': {
    start: startOpensslServer,
    model: 'one process',
    dialogue: http,
    oneKey: true,
  },
} as const satisfies Record<string, Kind>;

export type KindName = keyof typeof kinds;
export const kindNames = Object.keys(kinds) as KindName[];

/** Only root starts a server that drops root. */
export const asRoot = { skip: isRoot ? false : 'needs root, to start servers as their units do' };

/** Of the units. */
export const users = ['www-data', 'haproxy', 'stunnel4', 'postgres'];

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
    { path: tree.path('/run/keyagent-stunnel/agent.sock'), mode: '0660', group: 'stunnel4' },
    { path: tree.path('/run/keyagent-postgres/agent.sock'), mode: '0660', group: 'postgres' },
  ];
}
