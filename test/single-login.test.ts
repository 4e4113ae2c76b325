/** One login for everybody, and nothing of it inside a server: no module, no PIN, no private key. */
import assert from 'node:assert/strict';
import { createPrivateKey, randomBytes } from 'node:crypto';
import path from 'node:path';
import { test } from 'node:test';
import { isRoot } from './support/account.js';
import { Apache, mpms } from './support/apache.js';
import { cleanupAfter } from './support/cleanup.js';
import { mustRun } from './support/command.js';
import { deploy } from './support/deployment.js';
import { handshakes } from './support/handshakes.js';
import { softHsmModule } from './support/paths.js';
import { mappedFiles, scanMemory } from './support/proc.js';
import { scratchFolder } from './support/scratch.js';
import { makeKeyFile } from './support/softhsm.js';

const key = { label: 'www', type: 'rsa:2048' } as const;
const asRoot = { skip: isRoot ? false : "needs root, to read another user's memory" };

test('however many servers, children and restarts, the token sees one C_Initialize and one C_Login', async (t) => {
  const deployment = await deploy(cleanupAfter(t), { keys: [key], agent: { counted: true } });
  const { agent, authority } = deployment;
  const signedAtUnlock = agent.calls('C_Sign');
  for (const mpm of mpms) {
    const apache = await deployment.apache({ mpm, reference: 'uri', keys: [key.label] });
    for (let restart = 0; restart < 3; restart++) {
      const { failures } = await handshakes({
        port: apache.port,
        ca: authority.root,
        count: 40,
        concurrency: 8,
      });
      assert.deepEqual(failures, []);
      assert.deepEqual(await pkcs11Modules(processesOf(apache)), []);
      await apache.replaceChildren();
    }
  }
  assert.equal(agent.calls('C_Sign') - signedAtUnlock, mpms.length * 3 * 40);
  assert.equal(agent.calls('C_Initialize'), 1);
  assert.equal(agent.calls('C_Login'), 1);
});

test(
  'no process of Apache holds the PIN or the private key, and the scan finds the key where it is',
  asRoot,
  async (t) => {
    const cleanup = cleanupAfter(t);
    const keyFile = path.join(scratchFolder(cleanup), 'known.pem');
    const pem = await makeKeyFile(keyFile, 'rsa:2048');
    const pin = randomBytes(12).toString('hex');
    const deployment = await deploy(cleanup, { keys: [{ ...key, importFrom: keyFile }], pin });
    const { authority, folder, token } = deployment;
    const secrets = { ...privateNumbers(pem), pin: Buffer.from(pin) };
    const { certificateFile } = token.key(key.label);

    for (const mpm of mpms) {
      const withToken = await deployment.apache({ mpm, reference: 'uri', keys: [key.label] });
      const withFile = await Apache.start(cleanup, {
        ...{ folder, mpm, chainFile: authority.chainFile },
        pairs: [{ certificate: certificateFile, key: keyFile }],
      });
      for (const { port } of [withToken, withFile]) {
        const { failures } = await handshakes({ port, ca: authority.root, count: 60, concurrency: 8 });
        assert.deepEqual(failures, []);
      }
      for (const pid of processesOf(withToken))
        assert.deepEqual([...scanMemory(pid, secrets)], [], `${mpm}: pid ${pid}`);
      for (const pid of processesOf(withFile)) {
        const found = [...scanMemory(pid, secrets)].map((name) => name.split(' ')[0]);
        assert.deepEqual(
          [...new Set(found)].sort(),
          ['d', 'p', 'q'],
          `${mpm} with the key as a file: pid ${pid}`,
        );
      }
    }
  },
);

function processesOf(apache: Apache): number[] {
  return [apache.pid, ...apache.children()];
}

/** Of the libraries that processes have mapped, those that are PKCS#11 modules. */
async function pkcs11Modules(pids: readonly number[]): Promise<string[]> {
  const libraries = [...new Set(pids.flatMap(mappedFiles))].filter((file) => /\.so(\.|$)/.test(file));
  assert.ok(libraries.some((file) => file.endsWith('mod_ssl.so')));
  const exporting = await Promise.all([...libraries, softHsmModule].map(exportsFunctionList));
  assert.equal(exporting.pop(), true);
  return libraries.filter((_file, index) => exporting[index]);
}

async function exportsFunctionList(library: string): Promise<boolean> {
  const { stdout } = await mustRun('nm', ['--dynamic', '--defined-only', library]);
  return / T C_GetFunctionList\b/.test(stdout);
}

/** p, q and d, each in both byte orders: as standards write them, and as OpenSSL keeps them. */
function privateNumbers(pem: string): Record<string, Buffer> {
  const jwk = createPrivateKey(pem).export({ format: 'jwk' });
  const numbers = Object.entries({ p: jwk.p, q: jwk.q, d: jwk.d }).flatMap(([name, value]) => {
    const bigEndian = Buffer.from(value ?? '', 'base64url');
    assert.ok(bigEndian.length >= 120);
    const littleEndian = Buffer.from(bigEndian).reverse();
    return [
      [`${name} big-endian`, bigEndian],
      [`${name} little-endian`, littleEndian],
    ] as const;
  });
  return Object.fromEntries(numbers);
}
