/** @keyagent/client as its users get it: packed, and installed into an empty project that knows nothing of this one. */
import { cpSync, mkdirSync, readFileSync, symlinkSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { mustRun } from './command.js';
import { root } from './paths.js';

export interface InstalledClient {
  /** The project. */
  readonly folder: string;
  /** What package.json of each package that was installed says, by name. */
  readonly packages: ReadonlyMap<string, { scripts?: Record<string, string> }>;
}

/** @param parent an existing folder outside the repository */
export async function installClient(parent: string): Promise<InstalledClient> {
  const folder = path.join(parent, 'project');
  mkdirSync(folder);
  writeFileSync(path.join(folder, 'package.json'), '{ "name": "project", "private": true }\n');
  const tarballs = await pack(parent, ['protocol', 'clients/ts']);
  // With no registry at hand: what is not in the tarballs is not needed.
  await mustRun('npm', ['install', '--offline', '--no-audit', '--no-fund', ...tarballs], { cwd: folder });
  cpSync(path.join(root, 'test/installed'), folder, { recursive: true });
  return { folder, packages: installedPackages(folder) };
}

/** The types of Node, which a TypeScript project has of its own. */
export function addNodeTypes({ folder }: InstalledClient): void {
  mkdirSync(path.join(folder, 'node_modules/@types'));
  symlinkSync(path.join(root, 'node_modules/@types/node'), path.join(folder, 'node_modules/@types/node'));
}

async function pack(into: string, workspaces: readonly string[]): Promise<string[]> {
  const named = workspaces.flatMap((workspace) => ['--workspace', workspace]);
  const args = ['pack', '--json', '--pack-destination', into, ...named];
  const { stdout } = await mustRun('npm', args, { cwd: root });
  return (JSON.parse(stdout) as { filename: string }[]).map(({ filename }) => path.join(into, filename));
}

function installedPackages(folder: string): InstalledClient['packages'] {
  const lock = JSON.parse(readFileSync(path.join(folder, 'package-lock.json'), 'utf8')) as {
    packages: Record<string, unknown>;
  };
  const places = Object.keys(lock.packages).filter((place) => place !== '');
  return new Map(
    places.map((place) => {
      const text = readFileSync(path.join(folder, place, 'package.json'), 'utf8');
      return [place.replace('node_modules/', ''), JSON.parse(text) as { scripts?: Record<string, string> }];
    }),
  );
}
