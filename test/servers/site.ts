/** What a server of a test is made from: Debian's files, the agent's keys, and the recipes of `keyagent conf`. */
import path from 'node:path';
import type { Cleanup } from '../support/cleanup.js';
import type { Deployment } from '../support/deployment.js';
import { freePort } from '../support/port.js';
import { Tree } from './tree.js';

export interface Site {
  cleanup: Cleanup;
  deployment: Deployment;
  tree: Tree;
  /** Labels of keys; each is served on a port of its own. */
  ports: ReadonlyMap<string, number>;
  httpPort: number;
  /** Where haproxy and stunnel find what they serve. */
  backendPort: number;
  /** What is added to a key's TLS endpoint, in the program's own words. */
  extra: (key: string) => readonly string[];
  /** What the server runs under: a program and its arguments. */
  wrapper: readonly string[];
  /** A test's additions and mistakes: changes what the recipes wrote, before the server starts. */
  adjust: (tree: Tree) => void;
}

export interface SiteSpec {
  keys: readonly string[];
  backendPort?: number;
  extra?: Site['extra'];
  wrapper?: Site['wrapper'];
  adjust?: Site['adjust'];
}

export async function makeSite(cleanup: Cleanup, deployment: Deployment, spec: SiteSpec): Promise<Site> {
  const { keys, backendPort = 0, extra = () => [], wrapper = [], adjust = () => undefined } = spec;
  const ports = new Map<string, number>();
  for (const key of keys) ports.set(key, await freePort());
  const httpPort = await freePort();
  const tree = new Tree(machineOf(deployment.folder));
  return { cleanup, deployment, tree, ports, httpPort, backendPort, extra, wrapper, adjust };
}

/** Everything of one deployment is on one machine. */
export function machineOf(folder: string): string {
  return path.join(folder, 'machine');
}

export type Program = 'apache' | 'haproxy' | 'nginx' | 'postgres' | 'stunnel';

/**
 * Does for each key what `keyagent conf` says.
 * @param adapt   makes what one key's recipe wrote into the file fit for a test: ports, extra lines
 */
export async function follow(
  program: Program,
  { deployment, tree, ports, adjust }: Site,
  adapt: (key: string, port: number) => void,
): Promise<void> {
  const { agent } = deployment;
  const env = { KEYAGENT_SOCK: agent.socket };
  for (const [key, port] of ports) {
    const printed = await agent.mustKeyagent(['conf', program, deployment.uri(key, 'private')]);
    await tree.run(stepsOf(printed), env);
    adapt(key, port);
  }
  adjust(tree);
}

/** The commands among the comments of what `keyagent conf` prints. */
export function stepsOf(printed: string): string[] {
  return [...printed.matchAll(/^[#;] {3}(.*)$/gm)].map(([, command = '']) => command);
}
