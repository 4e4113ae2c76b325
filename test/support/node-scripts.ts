/**
 * What programs in Node do with keys of the agent: scripts, each with what it prints. Before each of them stands `prelude`:
 * keys by label, and a TLS server that serves one client.
 */

export interface KeyFiles {
  reference: string;
  certificate: string;
}

/** @param files   by label */
export function prelude(files: Record<string, KeyFiles>, rootFile: string, chainFile: string): string {
  return `
    import * as crypto from 'node:crypto';
    import * as tls from 'node:tls';
    import { readFileSync } from 'node:fs';
    const keys = Object.fromEntries(Object.entries(${JSON.stringify(files)}).map(([label, files]) => {
      const pem = readFileSync(files.reference);
      const certificate = readFileSync(files.certificate);
      const x509 = new crypto.X509Certificate(certificate);
      return [label, { pem, certificate, x509, key: crypto.createPrivateKey(pem) }];
    }));
    const ca = readFileSync(${JSON.stringify(rootFile)});
    const chain = readFileSync(${JSON.stringify(chainFile)});
    const hashOf = (label) => label === 'ed25519' ? null : 'sha256';
    const print = (value) => console.log(JSON.stringify(value));
    const serve = ({ pem, certificate }, options) => new Promise((resolve, reject) => {
      const server = tls.createServer({ key: pem, cert: Buffer.concat([certificate, chain]) }, (socket) => socket.end());
      server.on('tlsClientError', reject).listen(0, '127.0.0.1', () => {
        const { port } = server.address();
        const client = tls.connect({ host: '127.0.0.1', port, ca, servername: 'localhost', ...options }, () => {
          const session = client.getProtocol() + ' ' + client.getCipher().standardName.split('_WITH')[0];
          client.on('close', () => server.close(() => resolve(session))).end();
        }).on('error', reject);
      });
    });
  `;
}

export const scripts: Record<string, [script: string, answer: unknown]> = {
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
  'signs with PSS, and writes ECDSA signatures in either form': [
    `const { key, x509 } = keys.rsa, ec = keys.p256, message = Buffer.from('message');
    const pss = { padding: crypto.constants.RSA_PKCS1_PSS_PADDING, saltLength: crypto.constants.RSA_PSS_SALTLEN_DIGEST };
    const good = [crypto.verify('sha256', message, { key: x509.publicKey, ...pss }, crypto.sign('sha256', message, { key, ...pss }))];
    for (const dsaEncoding of ['der', 'ieee-p1363']) {
      const sig = crypto.createSign('sha256').update(message).sign({ key: ec.key, dsaEncoding });
      good.push(crypto.verify('sha256', message, { key: ec.x509.publicKey, dsaEncoding }, sig));
    }
    print(good);`,
    [true, true, true],
  ],
  'decrypts OAEP, says why it decrypts nothing else, and serves the RSA key exchange afterwards': [
    `const { key, x509: { publicKey } } = keys.rsa, { RSA_PKCS1_PADDING, RSA_NO_PADDING } = crypto.constants;
    const turn = (how) => {
      try {
        const sealed = crypto.publicEncrypt({ key: publicKey, ...how }, Buffer.from('message'.padEnd(how.length ?? 7)));
        if (how.spoil) sealed[9] ^= 1;
        return crypto.privateDecrypt({ key, ...how }, sealed).toString();
      } catch (error) { return error.code; }
    };
    const answers = ['sha1', 'sha256', 'sha384', 'sha512'].map((oaepHash) => turn({ oaepHash }));
    answers.push(turn({ spoil: true }), turn({ oaepLabel: Buffer.from('label') }), turn({ padding: RSA_PKCS1_PADDING }),
      turn({ padding: RSA_NO_PADDING, length: 256 }));
    print([...answers, await serve(keys.rsa, { maxVersion: 'TLSv1.2', ciphers: 'AES128-GCM-SHA256' })]);`,
    [
      ...['message', 'message', 'message', 'message', 'ERR_OSSL_DECRYPT_FAILED', 'ERR_OSSL_UNSUPPORTED'],
      // Node's own refusal.
      'ERR_INVALID_ARG_VALUE',
      'ERR_OSSL_UNSUPPORTED',
      'TLSv1.2 TLS_RSA',
    ],
  ],
  'serves TLS 1.3 and 1.2 with every kind of key, and the RSA key exchange': [
    `const sessions = [];
    for (const maxVersion of ['TLSv1.3', 'TLSv1.2'])
      for (const key of Object.values(keys)) sessions.push(await serve(key, { maxVersion }));
    sessions.push(await serve(keys.rsa, { maxVersion: 'TLSv1.2', ciphers: 'AES128-GCM-SHA256' }));
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
  'makes key shares and keys of its own after it signed': [
    `for (const [label, { key }] of Object.entries(keys)) crypto.sign(hashOf(label), Buffer.from('m'), key);
    const shares = [];
    for (const ecdhCurve of ['X25519', 'P-256', 'P-384']) shares.push(await serve(keys.p256, { ecdhCurve }));
    print([...shares, ...[['rsa', { modulusLength: 2048 }], ['ec', { namedCurve: 'P-256' }], ['ed25519', {}]].map(([type, options]) => {
      const { privateKey, publicKey } = crypto.generateKeyPairSync(type, options), message = Buffer.from('message');
      return crypto.verify(null, message, publicKey, crypto.sign(null, message, privateKey));
    })]);`,
    [...Array<string>(3).fill('TLSv1.3 TLS_AES_256_GCM_SHA384'), true, true, true],
  ],
  'gives no private key away, and the public one for its own use': [
    `print(Object.entries(keys).map(([label, { key }]) => {
      let leaked;
      try { leaked = key.export({ type: 'pkcs8', format: 'pem' }); } catch (error) { leaked = error.code.slice(0, 8); }
      const copy = crypto.createPublicKey(crypto.createPublicKey(key).export({ type: 'spki', format: 'pem' }));
      const message = Buffer.from('message');
      return [leaked, crypto.verify(hashOf(label), message, copy, crypto.sign(hashOf(label), message, key))];
    }));`,
    Array<[string, boolean]>(3).fill(['ERR_OSSL', true]),
  ],
  'verifies and encrypts nothing with the public key that it makes of a private one, and writes that as JWK':
    [
      `print(Object.entries(keys).map(([label, { key, x509 }]) => {
      const outcome = (work) => { try { return work(); } catch (error) { return error.code.slice(0, 12); } };
      const own = crypto.createPublicKey(key), hash = hashOf(label), message = Buffer.from('message');
      const signature = crypto.sign(hash, message, key);
      return [
        outcome(() => crypto.verify(hash, message, own, signature)),
        outcome(() => crypto.verify(hash, message, key, signature)),
        outcome(() => crypto.publicEncrypt(own, message).length),
        JSON.stringify(own.export({ format: 'jwk' })) === JSON.stringify(x509.publicKey.export({ format: 'jwk' })),
      ];
    }));`,
      Array<[string, string, string, boolean]>(3).fill([
        'ERR_OSSL_EVP',
        'ERR_OSSL_EVP',
        'ERR_OSSL_EVP',
        true,
      ]),
    ],
  'says why a key does not load': [
    `const reference = (uri) => '-----BEGIN KEYAGENT KEY REFERENCE-----\\n' + Buffer.from(uri).toString('base64') +
      '\\n-----END KEYAGENT KEY REFERENCE-----\\n';
    print(['pkcs11:object=nobody', 'pkcs11:object=rsa?pin-value=1'].map((uri) => {
      try { return crypto.createPrivateKey(reference(uri)).type; } catch (error) { return error.code; }
    }));`,
    ['ERR_OSSL_NOT_FOUND', 'ERR_OSSL_INVALID'],
  ],
};
