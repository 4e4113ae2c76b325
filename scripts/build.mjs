/**
 * Builds TypeScript into the dist of each package and C and launchers into build/. Quick when nothing changed.
 *   node scripts/build.mjs          what is installed
 *   node scripts/build.mjs --test   that, and every test
 */
import { spawnSync } from 'node:child_process';
import {
  chmodSync,
  copyFileSync,
  existsSync,
  mkdirSync,
  readFileSync,
  readdirSync,
  rmSync,
  writeFileSync,
} from 'node:fs';
import { dirname, join, relative } from 'node:path';
import { fileURLToPath } from 'node:url';

const root = join(dirname(fileURLToPath(import.meta.url)), '..');
const products = ['protocol', 'agent', 'clients/ts'];
const tests = ['protocol/test', 'agent/test', 'clients/ts/test', 'test'];
/** In this order: the last one links what the first one installed. */
const mesonProjects = { c: 'clients/c', native: 'agent/native', module: 'test/module', bench: 'test/bench' };

/** @param {'inherit' | 'pipe'} output pipe: shown only if the command fails */
function run(command, args, output = 'inherit') {
  const stdio = ['ignore', output, output];
  const { status, signal, error, stdout, stderr } = spawnSync(command, args, { cwd: root, stdio });
  if (status === 0) return;
  if (output === 'pipe') process.stderr.write(`${stdout ?? ''}${stderr ?? ''}`);
  console.error(`build: ${command} ${args.join(' ')}: ${error?.message ?? signal ?? `exit ${status}`}`);
  process.exit(1);
}

/** tsc -b leaves the output of a deleted source behind, and a deleted test would go on running. */
function removeOrphans(project) {
  const dist = join(root, project, 'dist');
  if (!existsSync(dist)) return;
  for (const entry of readdirSync(dist, { recursive: true })) {
    const stem = entry.match(/^(.*)\.(?:js|d\.ts)(?:\.map)?$/)?.[1];
    if (stem !== undefined && !existsSync(join(root, project, `${stem}.ts`))) rmSync(join(dist, entry));
  }
}

function buildTypeScript(projects) {
  for (const project of projects) removeOrphans(project);
  run(process.execPath, ['node_modules/typescript/bin/tsc', '-b', ...projects]);
}

function buildMeson(name, source) {
  const directory = join('build/meson', name);
  if (!existsSync(join(root, directory, 'build.ninja'))) {
    const prefix = join(root, 'build');
    const paths = [`--prefix=${prefix}`, '--libdir=lib', `--pkg-config-path=${prefix}/lib/pkgconfig`];
    run('meson', ['setup', directory, source, ...paths], 'pipe');
  }
  run('ninja', ['-j2', '-C', directory], 'pipe');
  run('meson', ['install', '--quiet', '--no-rebuild', '--only-changed', '-C', directory]);
}

/**
 * A launcher for agent code. Variables that make Node load or print other things are dropped, because the agent
 * may inherit the environment of whoever started it; core dumps would hold PINs.
 * @param options  of Node, each with a space behind it
 */
function shim(script, options) {
  return `#!/bin/sh
# Written by scripts/build.mjs.
unset NODE_OPTIONS NODE_PATH NODE_DEBUG NODE_DEBUG_NATIVE NODE_EXTRA_CA_CERTS NODE_ICU_DATA NODE_V8_COVERAGE
unset NODE_REDIRECT_WARNINGS NODE_REPL_EXTERNAL_MODULE NODE_TLS_REJECT_UNAUTHORIZED
unset OPENSSL_CONF OPENSSL_MODULES OPENSSL_ENGINES UV_THREADPOOL_SIZE
ulimit -c 0
self=$(readlink -f -- "$0") || exit 69
root=\${self%/build/bin/*}
node='${process.execPath.replaceAll("'", "'\\''")}'
[ -x "$node" ] || node=node
exec "$node" ${options}"$root/${script}" "$@"
`;
}

function writeShim(name, script, options = '') {
  const path = join(root, 'build/bin', name);
  const text = shim(script, options);
  mkdirSync(dirname(path), { recursive: true });
  if (existsSync(path) && readFileSync(path, 'utf8') === text) return;
  writeFileSync(path, text);
  chmodSync(path, 0o755);
}

/** The agent's pages; those of the C library are meson's. */
function installManual() {
  for (const page of readdirSync(join(root, 'docs/man'))) {
    const section = join(root, 'build/share/man', `man${page.split('.').at(-1)}`);
    mkdirSync(section, { recursive: true });
    copyFileSync(join(root, 'docs/man', page), join(section, page));
  }
}

function main() {
  const withTests = process.argv.includes('--test');
  buildTypeScript(withTests ? [...products, ...tests] : products);
  run(process.execPath, ['protocol/dist/gen-c-header.js', '--check']);
  // What a request allocates dies with it: V8 would let the room for that grow to 48 MB in the agent and in each host.
  writeShim('keyagentd', 'agent/dist/main.js', '--max-semi-space-size=2 --no-parallel-scavenge ');
  writeShim('keyagent', 'agent/dist/cli/main.js');
  for (const [name, source] of Object.entries(mesonProjects)) buildMeson(name, source);
  installManual();
  console.log(`build: ${relative(process.cwd(), join(root, 'build')) || '.'} is up to date`);
}

main();
