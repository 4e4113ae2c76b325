/** Apache beside libengine-pkcs11-openssl: the engine takes pkcs11: URIs first, and both ways out in docs/servers/apache.md. */
import assert from 'node:assert/strict';
import { readdirSync } from 'node:fs';
import path from 'node:path';
import { test } from 'node:test';
import { asRoot, deployFleet, kinds } from './servers/fleet.js';
import type { Server } from './servers/server.js';
import { makeSite } from './servers/site.js';
import type { Tree } from './servers/tree.js';
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
});

test('OPENSSL_ENGINES with an empty folder keeps the engine out', asRoot, async (t) => {
  const cleanup = cleanupAfter(t);
  const deployment = await deployFleet(cleanup, keys);
  const server = await start(cleanup, deployment);
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
