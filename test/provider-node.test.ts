/**
 * The OpenSSL provider inside Node, which carries an OpenSSL of its own: keys from PEM references, used by node:crypto
 * and node:tls. Each test is a Node of its own, configured as an administrator would.
 */
import assert from 'node:assert/strict';
import { readFileSync, writeFileSync } from 'node:fs';
import { userInfo } from 'node:os';
import path from 'node:path';
import { after, before, test } from 'node:test';
import { Cleanup } from './support/cleanup.js';
import { mustRun } from './support/command.js';
import { deploy, type Deployment } from './support/deployment.js';

const cleanup = new Cleanup();
let deployment: Deployment;
const keys = [
  { label: 'rsa', type: 'rsa:2048' },
  { label: 'p256', type: 'EC:prime256v1' },
  { label: 'ed25519', type: 'EC:edwards25519' },
] as const;
const labels = keys.map(({ label }) => label);

before(async () => {
  const rules = [{ keys: 'pkcs11:', users: [userInfo().username], operations: ['sign', 'decrypt'] }];
  deployment = await deploy(cleanup, { keys, agent: { rules } });
});
after(() => cleanup.run());

/** The configuration of the deployment, with `export = public` and the line that belongs to it. */
function publicExport(): Record<string, string> {
  const file = path.join(deployment.folder, 'public.cnf');
  const text = readFileSync(deployment.opensslEnv.OPENSSL_CONF ?? '', 'utf8')
    .replace('[openssl_init]', '[openssl_init]\nalg_section = evp_sect')
    .replace('[keyagent_sect]', '[keyagent_sect]\nexport = public');
  writeFileSync(file, `${text}[evp_sect]\ndefault_properties = ?keyagent.sign=yes\n`);
  return { OPENSSL_CONF: file };
}

/** Runs a script that finds `keys` (label to key, certificate); answers what it printed as JSON. */
async function inNode(script: string, env: Record<string, string>): Promise<unknown> {
  const files: Record<string, { reference: string; certificate: string }> = {};
  for (const label of labels) {
    files[label] = {
      reference: await deployment.referenceFile(label),
      certificate: deployment.token.key(label).certificateFile,
    };
  }
  const prelude = `
    import * as crypto from 'node:crypto';
    import * as tls from 'node:tls';
    import { readFileSync } from 'node:fs';
    const keys = Object.fromEntries(Object.entries(${JSON.stringify(files)}).map(([label, files]) => {
      const pem = readFileSync(files.reference);
      const certificate = readFileSync(files.certificate);
      const x509 = new crypto.X509Certificate(certificate);
      return [label, { pem, certificate, x509, key: crypto.createPrivateKey(pem) }];
    }));
    const ca = readFileSync(${JSON.stringify(deployment.authority.rootFile)});
    const chain = readFileSync(${JSON.stringify(deployment.authority.chainFile)});
    const hashOf = (label) => label === 'ed25519' ? null : 'sha256';
    const print = (value) => console.log(JSON.stringify(value));
  `;
  const args = ['--openssl-shared-config', '--input-type=module', '--eval', prelude + script];
  return JSON.parse((await mustRun(process.execPath, args, { env })).stdout);
}

const scripts = {
  'signs with every kind of key, and Node verifies': [
    `print(Object.entries(keys).map(([label, { key, x509 }]) => {
      const hash = hashOf(label), message = Buffer.from('message');
      return crypto.verify(hash, message, x509.publicKey, crypto.sign(hash, message, key));
    }));`,
    [true, true, true],
  ],
  'knows a key for that of its certificate, and no other': [
    `print(Object.values(keys).map(({ x509 }) => Object.values(keys).map(({ key }) => x509.checkPrivateKey(key))));`,
    [
      [true, false, false],
      [false, true, false],
      [false, false, true],
    ],
  ],
  'makes the public key of a private one': [
    `print(Object.values(keys).map(({ key, x509 }) => crypto.createPublicKey(key).equals(x509.publicKey)));`,
    [true, true, true],
  ],
  'signs 400 times at once on the threads of its pool': [
    `const { key, x509 } = keys.rsa;
    const one = (i) => new Promise((resolve, reject) => crypto.sign('sha256', Buffer.from('m' + i), key,
      (error, sig) => error ? reject(error) : resolve(crypto.verify('sha256', Buffer.from('m' + i), x509.publicKey, sig))));
    print((await Promise.all(Array.from({ length: 400 }, (_, i) => one(i)))).filter(Boolean).length);`,
    400,
  ],
  'signs with PSS and decrypts OAEP': [
    `const { key, x509 } = keys.rsa, message = Buffer.from('message');
    const pss = { padding: crypto.constants.RSA_PKCS1_PSS_PADDING, saltLength: crypto.constants.RSA_PSS_SALTLEN_DIGEST };
    const sig = crypto.sign('sha256', message, { key, ...pss });
    const sealed = crypto.publicEncrypt({ key: x509.publicKey, oaepHash: 'sha256' }, message);
    print([crypto.verify('sha256', message, { key: x509.publicKey, ...pss }, sig),
      crypto.privateDecrypt({ key, oaepHash: 'sha256' }, sealed).toString()]);`,
    [true, 'message'],
  ],
  'serves TLS 1.3 and 1.2 with every kind of key, and the RSA key exchange': [
    `const serve = ({ pem, certificate }, options) => new Promise((resolve, reject) => {
      const server = tls.createServer({ key: pem, cert: Buffer.concat([certificate, chain]) }, (socket) => socket.end());
      server.on('tlsClientError', reject).listen(0, '127.0.0.1', () => {
        const { port } = server.address();
        const client = tls.connect({ host: '127.0.0.1', port, ca, servername: 'localhost', ...options }, () => {
          const session = client.getProtocol() + ' ' + client.getCipher().standardName;
          client.on('close', () => server.close(() => resolve(session))).end();
        }).on('error', reject);
      });
    });
    const sessions = [];
    for (const maxVersion of ['TLSv1.3', 'TLSv1.2'])
      for (const key of Object.values(keys)) sessions.push((await serve(key, { maxVersion })).split('_WITH')[0]);
    sessions.push((await serve(keys.rsa, { maxVersion: 'TLSv1.2', ciphers: 'AES128-GCM-SHA256' })).split('_WITH')[0]);
    print(sessions);`,
    [
      ...Array<string>(3).fill('TLSv1.3 TLS_AES_256_GCM_SHA384'),
      ...['TLSv1.2 TLS_ECDHE_RSA', 'TLSv1.2 TLS_ECDHE_ECDSA', 'TLSv1.2 TLS_ECDHE_ECDSA', 'TLSv1.2 TLS_RSA'],
    ],
  ],
  'serves HTTP/2': [
    `const http2 = await import('node:http2');
    const { pem, certificate } = keys.p256;
    const server = http2.createSecureServer({ key: pem, cert: Buffer.concat([certificate, chain]) });
    server.on('stream', (stream) => stream.respond({ ':status': 200 }) ?? stream.end('page'));
    await new Promise((resolve) => server.listen(0, '127.0.0.1', resolve));
    const session = http2.connect('https://localhost:' + server.address().port, { ca, lookup: (_, options, done) =>
      options.all ? done(null, [{ address: '127.0.0.1', family: 4 }]) : done(null, '127.0.0.1', 4) });
    let body = '';
    for await (const text of session.request({ ':path': '/' }).setEncoding('utf8')) body += text;
    print([body, session.alpnProtocol]);
    session.close(() => server.close());`,
    ['page', 'h2'],
  ],
  'signs in worker threads': [
    `const { Worker } = await import('node:worker_threads');
    const text = 'const { workerData, parentPort } = require("node:worker_threads"); const crypto = require("node:crypto");' +
      'parentPort.postMessage(crypto.sign("sha256", Buffer.from("m"), crypto.createPrivateKey(workerData)));';
    const inWorker = () => new Promise((resolve, reject) =>
      new Worker(text, { eval: true, execArgv: [], workerData: keys.p256.pem.toString() }).once('message', resolve).once('error', reject));
    print((await Promise.all([inWorker(), inWorker(), inWorker()])).map((sig) =>
      crypto.verify('sha256', Buffer.from('m'), keys.p256.x509.publicKey, sig)));`,
    [true, true, true],
  ],
  'makes keys of its own and uses them': [
    `print([['rsa', { modulusLength: 2048 }], ['ec', { namedCurve: 'P-256' }], ['ed25519', {}]].map(([type, options]) => {
      const { privateKey, publicKey } = crypto.generateKeyPairSync(type, options);
      const message = Buffer.from('message');
      return crypto.verify(null, message, publicKey, crypto.sign(null, message, privateKey));
    }));`,
    [true, true, true],
  ],
} satisfies Record<string, [script: string, answer: unknown]>;

for (const [what, [script, answer]] of Object.entries(scripts)) {
  test(`Node ${what}`, async () => {
    assert.deepEqual(await inNode(script, deployment.opensslEnv), answer);
  });
  test(`Node ${what}, with export = public`, async () => {
    assert.deepEqual(await inNode(script, publicExport()), answer);
  });
}

test('Node tells the details of a key, with export = public', async () => {
  const script = `print(Object.values(keys).map(({ key }) => Object.entries(key.asymmetricKeyDetails).map(String)));`;
  assert.deepEqual(await inNode(script, publicExport()), [
    ['modulusLength,2048', 'publicExponent,65537'],
    ['namedCurve,prime256v1'],
    [],
  ]);
});

const signThenMake = `
  for (const [label, { key }] of Object.entries(keys)) crypto.sign(hashOf(label), Buffer.from('m'), key);
  print([['rsa', { modulusLength: 1024 }], ['ec', { namedCurve: 'P-256' }], ['ed25519', {}]].map(([type, options]) => {
    try { return crypto.generateKeyPairSync(type, options).privateKey.asymmetricKeyType; } catch { return 'none'; }
  }));`;
const makeOneOfEach = `
  crypto.generateKeyPairSync('rsa', { modulusLength: 1024 });
  crypto.generateKeyPairSync('ec', { namedCurve: 'P-256' });
  crypto.generateKeyPairSync('ed25519');`;

test('Node makes keys after it signed', async () => {
  assert.deepEqual(await inNode(signThenMake, deployment.opensslEnv), ['rsa', 'ec', 'ed25519']);
});

test('Node makes keys after it signed with export = public, if it made one of the type before', async () => {
  assert.deepEqual(await inNode(makeOneOfEach + signThenMake, publicExport()), ['rsa', 'ec', 'ed25519']);
});
