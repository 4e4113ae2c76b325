/** Every program of docs/client and of the READMEs runs with the installed package and prints what the page says. */
import assert from 'node:assert/strict';
import { readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { userInfo } from 'node:os';
import path from 'node:path';
import { after, before, test } from 'node:test';
import { errorCodes } from '@keyagent/client';
import { Cleanup } from './support/cleanup.js';
import { mustRun } from './support/command.js';
import { deploy, type Deployment } from './support/deployment.js';
import { installClient, type InstalledClient } from './support/installed-client.js';
import { blocksOf } from './support/markdown.js';
import { root } from './support/paths.js';

interface Program {
  readonly text: string;
  /** Undefined where the page does not say. */
  readonly prints: string | undefined;
}

const pages = [
  ...readdirSync(path.join(root, 'docs/client')).map((name) => `client/${name}`),
  '../clients/ts/README.md',
  '../README.md',
];
const cleanup = new Cleanup();
let deployment: Deployment;
let installed: InstalledClient;

before(async () => {
  const keys = [
    { label: 'www', type: 'EC:prime256v1' },
    { label: 'box', type: 'rsa:2048' },
  ] as const;
  const rules = [{ keys: 'pkcs11:', users: [userInfo().username], operations: ['sign', 'decrypt'] }];
  deployment = await deploy(cleanup, { keys, agent: { rules } });
  installed = await installClient(deployment.folder);
});
after(() => cleanup.run());

function programsOf(page: string): Program[] {
  return blocksOf(page).flatMap(({ language, text }, index, blocks) => {
    const next = blocks[index + 1];
    return language === 'js' ? [{ text, prints: next?.language === 'text' ? next.text : undefined }] : [];
  });
}

for (const page of pages) {
  for (const [index, { text, prints }] of programsOf(page).entries()) {
    test(`${path.normalize(`docs/${page}`)}: program ${index + 1} does what the page says`, async () => {
      const name = `example${text.includes('require(') ? '.cjs' : '.mjs'}`;
      writeFileSync(path.join(installed.folder, name), text);
      const env = { KEYAGENT_SOCK: deployment.agent.socket };
      const { stdout, stderr } = await mustRun(process.execPath, [name], { cwd: installed.folder, env });
      assert.deepEqual([stdout, stderr], [prints ?? stdout, '']);
    });
  }
}

test('the pages have their programs', () => {
  const counts = Object.fromEntries(pages.map((page) => [page, programsOf(page).length]));
  assert.deepEqual(counts, {
    'client/README.md': 0,
    'client/agent-error.md': 1,
    'client/client.md': 3,
    'client/jws-signer.md': 2,
    'client/key.md': 3,
    '../clients/ts/README.md': 1,
    '../README.md': 1,
  });
});

test('the page of AgentError names every code, and no other', () => {
  const page = readFileSync(path.join(root, 'docs/client/agent-error.md'), 'utf8');
  const named = new Set([...page.matchAll(/`([A-Z][A-Z_]+)`/g)].map(([, code]) => code));
  named.delete('KEYAGENT_SOCK');
  assert.deepEqual([...named].sort(), [...errorCodes].sort());
});
