/**
 * The OpenSSL provider inside Node, which carries an OpenSSL of its own: this Node and Node 24, configured by
 * what `keyagent conf node` prints. Each test is a Node of its own.
 */
import assert from 'node:assert/strict';
import { writeFileSync } from 'node:fs';
import { userInfo } from 'node:os';
import path from 'node:path';
import { after, before, describe, test } from 'node:test';
import { Cleanup } from './support/cleanup.js';
import { mustRun } from './support/command.js';
import { deploy, type Deployment } from './support/deployment.js';
import { node24 } from './support/node24.js';
import { prelude, scripts, type KeyFiles } from './support/node-scripts.js';

const cleanup = new Cleanup();
let deployment: Deployment;
const keys = [
  { label: 'rsa', type: 'rsa:2048' },
  { label: 'p256', type: 'EC:prime256v1' },
  { label: 'ed25519', type: 'EC:edwards25519' },
] as const;

let configuration: string[];

before(async () => {
  const rules = [{ keys: 'pkcs11:', users: [userInfo().username], operations: ['sign', 'decrypt'] }];
  deployment = await deploy(cleanup, { keys, agent: { rules } });
  configuration = await configure('node.cnf', ['node', deployment.uri('rsa', 'private')]);
});
after(() => cleanup.run());

/** @returns arguments of Node, for what `keyagent conf` prints */
async function configure(name: string, args: readonly string[]): Promise<string[]> {
  const file = path.join(deployment.folder, name);
  writeFileSync(file, await deployment.agent.mustKeyagent(['conf', ...args]));
  return [`--openssl-config=${file}`];
}

const nodes = {
  [`Node ${process.versions.node.replace(/\..*/, '')}`]: () => Promise.resolve(process.execPath),
  'Node 24': node24,
};

/** Answers what the script printed as JSON. */
async function inNode(binary: string, script: string, options = configuration): Promise<unknown> {
  const { authority, token } = deployment;
  const files: Record<string, KeyFiles> = {};
  for (const { label } of keys)
    files[label] = {
      reference: await deployment.referenceFile(label),
      certificate: token.key(label).certificateFile,
    };
  const text = prelude(files, authority.rootFile, authority.chainFile) + script;
  return JSON.parse((await mustRun(binary, [...options, '--input-type=module', '--eval', text])).stdout);
}

const details = `print(Object.values(keys).map(({ key }) => Object.entries(key.asymmetricKeyDetails).map(String)));`;
const detailsOfKeys = [['modulusLength,2048', 'publicExponent,65537'], ['namedCurve,prime256v1'], []];

for (const [name, find] of Object.entries(nodes)) {
  describe(name, () => {
    for (const [what, [script, answer]] of Object.entries(scripts)) {
      test(what, async () => {
        assert.deepEqual(await inNode(await find(), script), answer);
      });
    }

    test('tells the details of a key, before it signs and afterwards', async () => {
      const sign = `for (const [label, { key }] of Object.entries(keys)) crypto.sign(hashOf(label), Buffer.from('m'), key);`;
      for (const before of ['', sign])
        assert.deepEqual(await inNode(await find(), before + details + sign.repeat(2)), detailsOfKeys);
    });
  });
}

/** Answers what JWK Node makes of a private key: names of its members, or why not. */
const jwk = (label: string): string =>
  `try { print(Object.keys(keys.${label}.key.export({ format: 'jwk' }))); } catch (error) { print(error.code); }`;

test('a private key as JWK is an error in Node 24', async () => {
  for (const { label } of keys)
    assert.equal(await inNode(await node24(), jwk(label)), 'ERR_CRYPTO_OPERATION_FAILED');
});

test(
  'a private key as JWK ends Node 20, or of Ed25519 says no more than the curve',
  { skip: process.versions.node.startsWith('20.') ? false : 'needs Node 20, which ends there' },
  async () => {
    for (const label of ['rsa', 'p256'])
      await assert.rejects(inNode(process.execPath, jwk(label)), /ended by SIGABRT/);
    assert.deepEqual(await inNode(process.execPath, jwk('ed25519')), ['crv']);
  },
);

test('Node 24 tells the details of a key without export = public, and takes a URI', async () => {
  const plain = await configure('openssl.cnf', ['openssl']);
  const options = ['--openssl-shared-config', ...plain];
  const byUri = `const key = crypto.createPrivateKey(new URL('pkcs11:token=web;object=p256'));
    print(crypto.verify('sha256', Buffer.from('m'), keys.p256.x509.publicKey, crypto.sign('sha256', Buffer.from('m'), key)));`;
  assert.deepEqual(await inNode(await node24(), details, options), detailsOfKeys);
  assert.equal(await inNode(await node24(), byUri, options), true);
});
