/** @keyagent/client from its tarball: ES modules, CommonJS, TypeScript, cluster, threads; on this Node and on the newest LTS. */
import assert from 'node:assert/strict';
import { copyFileSync, readdirSync } from 'node:fs';
import { userInfo } from 'node:os';
import path from 'node:path';
import { after, before, test } from 'node:test';
import { Cleanup } from './support/cleanup.js';
import { mustRun } from './support/command.js';
import { deploy, type Deployment } from './support/deployment.js';
import { addNodeTypes, installClient, type InstalledClient } from './support/installed-client.js';
import { node24 } from './support/node24.js';
import { root } from './support/paths.js';

const programs = readdirSync(path.join(root, 'test/installed')).filter((name) => /\.[cm]js$/.test(name));
const cleanup = new Cleanup();
let deployment: Deployment;
let installed: InstalledClient;

before(async () => {
  const rules = [{ keys: 'pkcs11:', users: [userInfo().username], operations: ['sign'] }];
  deployment = await deploy(cleanup, { keys: [{ label: 'www', type: 'EC:prime256v1' }], agent: { rules } });
  installed = await installClient(deployment.folder);
});
after(() => cleanup.run());

for (const program of programs) {
  for (const [name, binary] of [
    ['this Node', () => Promise.resolve(process.execPath)],
    ['Node 24', node24],
  ] as const) {
    test(`${program} works with the installed package on ${name}, ends by itself and warns of nothing`, async () => {
      const env = { KEYAGENT_SOCK: deployment.agent.socket, KEY_URI: deployment.uri('www', 'private') };
      const options = { cwd: installed.folder, env };
      const { stdout, stderr } = await mustRun(await binary(), [program], options);
      assert.deepEqual([stdout, stderr], ['good\n', '']);
    });
  }
}

test('nothing that is installed has an install script', () => {
  assert.ok(installed.packages.has('@keyagent/client'));
  for (const [name, { scripts = {} }] of installed.packages) {
    const names = Object.keys(scripts).filter((script) => /install|^prepare$/.test(script));
    assert.deepEqual(names, [], name);
  }
});

test('the types hold in a project of its own, as ES module and as CommonJS, and misuse does not compile', async () => {
  addNodeTypes(installed);
  const files = ['types.mts', 'types.cts'];
  for (const file of files)
    copyFileSync(path.join(root, 'test/installed/types.ts'), path.join(installed.folder, file));
  const tsc = path.join(root, 'node_modules/typescript/bin/tsc');
  const strict = ['--strict', '--exactOptionalPropertyTypes', '--noEmit'];
  const target = ['--target', 'es2022', '--module', 'nodenext', '--types', 'node'];
  await mustRun(process.execPath, [tsc, ...strict, ...target, ...files], { cwd: installed.folder });
});
