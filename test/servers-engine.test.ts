/**
 * Apache beside libengine-pkcs11-openssl: the engine takes pkcs11: URIs first, as keyagent doctor says of that
 * environment, and both ways out in docs/servers/apache.md.
 */
import assert from 'node:assert/strict';
import { readdirSync } from 'node:fs';
import path from 'node:path';
import { test } from 'node:test';
import { asRoot, deployFleet, kinds } from './servers/fleet.js';
import type { Server } from './servers/server.js';
import { machineOf, makeSite } from './servers/site.js';
import { Tree } from './servers/tree.js';
import { cleanupAfter, type Cleanup } from './support/cleanup.js';
import type { Deployment } from './support/deployment.js';
import { fetchPage } from './support/handshakes.js';
import { blocksOf } from './support/markdown.js';
import { root } from './support/paths.js';

const keys = [{ label: 'www', type: 'EC:prime256v1' }] as const;
/** Where scripts/setup.sh unpacked the package; its folder is named after the machine. */
const libraries = path.join(root, 'build/debian/usr/lib');
const enginesFolder = path.join(libraries, readdirSync(libraries)[0] ?? '', 'engines-3');
const [, , , commands, lines] = blocksOf('servers/apache.md');

function start(cleanup: Cleanup, deployment: Deployment, adjust?: (tree: Tree) => void): Promise<Server> {
  const site = makeSite(cleanup, deployment, { keys: ['www'], ...(adjust === undefined ? {} : { adjust }) });
  return site.then(kinds['Apache event'].start);
}

/**
 * As if it were installed: Apache's engines are where Debian's package put its own. It loads every module of p11-kit,
 * of which tpm2-pkcs11 makes its store in the working directory unless it is told another.
 */
function installEngine(tree: Tree): void {
  const store = `export TPM2_PKCS11_STORE=${tree.path('/etc/apache2')}`;
  tree.edit('/etc/apache2/envvars', (text) =>
    text.replace(/OPENSSL_ENGINES=.*/, `OPENSSL_ENGINES=${enginesFolder}\n${store}`),
  );
}

/** What keyagent doctor says of the engine, and whether the key signs; in the environment that Apache was given. */
async function diagnose({ agent, folder }: Deployment): Promise<{ engine: string; sign: string }> {
  const envvars = new Tree(machineOf(folder)).read('/etc/apache2/envvars');
  const variables = [...envvars.matchAll(/\b(OPENSSL_(?:CONF|ENGINES)=\S+)/g)].flatMap(([, text = '']) => [
    '--env',
    text,
  ]);
  const args = ['--config', agent.configFile, '--json', 'doctor', '--user', 'www-data', ...variables];
  const printed = await agent.mustKeyagent([...args, '--key', 'pkcs11:token=web;object=www']);
  const { checks } = JSON.parse(printed) as {
    checks: { name: string; verdict: string; says: string; remedy?: string }[];
  };
  const lineOf = (wanted: string) => {
    const {
      verdict,
      says,
      remedy = '',
    } = checks.find(({ name }) => name === wanted) ?? { verdict: 'none', says: '' };
    return [verdict, says, remedy].join(' ');
  };
  return { engine: lineOf('engine'), sign: lineOf('sign') };
}

test('the engine takes the URI, and Apache does not start', asRoot, async (t) => {
  const cleanup = cleanupAfter(t);
  const deployment = await deployFleet(cleanup, keys);
  await assert.rejects(start(cleanup, deployment, installEngine), ({ message }: Error) => {
    assert.match(message, /ended/);
    assert.match(message, /engine/i);
    // The provider was not asked: it would have answered.
    assert.doesNotMatch(message, /no such engine|AH10492/);
    return true;
  });
  const { engine, sign } = await diagnose(deployment);
  assert.match(engine, /^note \S+\/engines-3\/pkcs11\.so takes pkcs11: URIs .*OPENSSL_ENGINES.*keyagent ref/);
  assert.match(sign, /^ok /);
});

test('OPENSSL_ENGINES with an empty folder keeps the engine out', asRoot, async (t) => {
  const cleanup = cleanupAfter(t);
  const deployment = await deployFleet(cleanup, keys);
  const server = await start(cleanup, deployment);
  assert.match((await diagnose(deployment)).engine, /^ok /);
  await fetchPage({ port: server.port('www'), ca: deployment.authority.root });
  await server.stop();
});

test('a PEM reference goes past the engine', asRoot, async (t) => {
  const cleanup = cleanupAfter(t);
  const deployment = await deployFleet(cleanup, keys);
  const printed = await deployment.agent.mustKeyagent(['ref', deployment.uri('www', 'private')]);
  assert.equal(
    commands?.text,
    `keyagent ref '${deployment.uri('www', 'private')}' > /etc/keyagent/www.key\n`,
  );
  const server = await start(cleanup, deployment, (tree) => {
    installEngine(tree);
    tree.write('/etc/keyagent/www.key', printed);
    tree.edit('/etc/apache2/sites-available/www.conf', (text) =>
      text.replace(/^ *SSLCertificateKeyFile .*$/m, tree.rewrite(lines?.text ?? '')),
    );
  });
  await fetchPage({ port: server.port('www'), ca: deployment.authority.root });
  await server.stop();
});
