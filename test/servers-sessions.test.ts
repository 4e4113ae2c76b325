/** What a TLS server does beside the handshake goes on with keys in a token: caches, tickets, stapling, two certificates. */
import assert from 'node:assert/strict';
import { once } from 'node:events';
import { appendFileSync, copyFileSync, readFileSync, writeFileSync } from 'node:fs';
import { createServer, type IncomingMessage } from 'node:http';
import type { AddressInfo } from 'node:net';
import path from 'node:path';
import { buffer } from 'node:stream/consumers';
import { test } from 'node:test';
import { startBackend } from './servers/backend.js';
import { modes } from './servers/cells.js';
import { asRoot, deployFleet, kinds, type KindName } from './servers/fleet.js';
import type { Server } from './servers/server.js';
import { makeSite, type Site } from './servers/site.js';
import type { Tree } from './servers/tree.js';
import { auditOf } from './support/audit.js';
import { cleanupAfter, type Cleanup } from './support/cleanup.js';
import { mustRun } from './support/command.js';
import type { Deployment } from './support/deployment.js';
import { fetchPage, fingerprintOf } from './support/handshakes.js';
import { visit } from './support/resume.js';
import { waitFor } from './support/wait.js';

const keys = [
  { label: 'ec', type: 'EC:prime256v1' },
  { label: 'rsa', type: 'rsa:2048' },
] as const;

interface Way {
  title: string;
  server: KindName;
  extra: readonly string[];
}

const nginxShowsWorker = 'location = / { return 200 "$pid"; }';

/** Each shows which child answered: nginx in the page, Apache in its access log. */
const ways: Way[] = [
  { title: "Apache's shmcb cache", server: 'Apache prefork', extra: [] },
  { title: "Apache's tickets", server: 'Apache prefork', extra: ['SSLSessionTickets on'] },
  { title: "Apache's tickets between threads", server: 'Apache event', extra: ['SSLSessionTickets on'] },
  { title: "nginx's tickets", server: 'nginx', extra: [nginxShowsWorker] },
  {
    title: "nginx's shared cache",
    server: 'nginx',
    extra: [nginxShowsWorker, 'ssl_session_cache shared:TLS:1m;', 'ssl_session_tickets off;'],
  },
];

for (const { title, server: name, extra } of ways) {
  test(`${title} resume sessions in every child, without the key`, asRoot, async (t) => {
    const cleanup = cleanupAfter(t);
    const deployment = await deployFleet(cleanup, keys);
    const workers = path.join(deployment.folder, 'workers');
    const lines = name === 'nginx' ? extra : [...extra, `CustomLog ${workers} "%P"`];
    const server = await serve(cleanup, deployment, name, { extra: () => lines });
    for (const mode of ['TLS 1.2 ECDHE', 'TLS 1.3'] as const) {
      const target = { port: server.port('ec'), ca: deployment.authority.root, tls: modes[mode].tls };
      let { session, body } = await visit(target);
      const pids = new Set([body]);
      const before = signatures(deployment);
      for (let i = 0; i < 30; i++) {
        assert.ok(session !== undefined, 'the server gave no session');
        const next = await visit(target, session);
        assert.equal(next.reused, true, `${mode}: visit ${String(i)} was not resumed`);
        pids.add(next.body);
        ({ session = session, body } = next);
      }
      assert.equal(signatures(deployment), before, 'a resumed session used the key');
      if (name === 'nginx') assert.ok(pids.size > 1, 'one worker answered everything');
    }
    if (name !== 'nginx')
      await waitFor('several children answered', () => new Set(linesOf(workers)).size > 1);
    await server.stop();
  });
}

function linesOf(file: string): string[] {
  return readFileSync(file, 'utf8').split('\n').filter(Boolean);
}

/** Those that staple, and show one of several certificates for a name. */
const several = ['Apache event', 'nginx', 'haproxy'] as const;
type Several = (typeof several)[number];

for (const name of several) {
  test(
    `${name} has an RSA and an ECDSA certificate for one name, and shows the one that the client asks for`,
    asRoot,
    async (t) => {
      const cleanup = cleanupAfter(t);
      const deployment = await deployFleet(cleanup, keys);
      const second = await secondPair(name, deployment);
      const server = await serve(cleanup, deployment, name, { extra: () => second });
      for (const [label, sigalgs] of [
        // haproxy knows a client that takes RSA by the older one of these.
        ['rsa', 'rsa_pss_rsae_sha256:rsa_pkcs1_sha256'],
        ['ec', 'ecdsa_secp256r1_sha256'],
      ] as const) {
        // The intermediate is signed with ECDSA: that must be acceptable too, but not for the server's own signature.
        const target = {
          port: server.port('ec'),
          ca: deployment.authority.root,
          tls: { ...modes['TLS 1.3'].tls, sigalgs },
        };
        const { fingerprint } = await fetchPage(target);
        assert.equal(fingerprint, fingerprintOf(deployment.token.key(label).certificateFile));
      }
      await server.stop();
    },
  );
}

/** The key `rsa` beside `ec`, in the program's words. */
async function secondPair(name: Several, deployment: Deployment): Promise<string[]> {
  const file = path.join(deployment.folder, 'second.pem');
  writeFileSync(
    file,
    await deployment.agent.mustKeyagent(['cert', '--chain', deployment.uri('rsa', 'cert')]),
  );
  const reference = await deployment.referenceFile('rsa');
  switch (name) {
    case 'Apache event':
      return [`SSLCertificateFile ${file}`, `SSLCertificateKeyFile "${deployment.uri('rsa', 'private')}"`];
    case 'nginx':
      return [`ssl_certificate ${file};`, `ssl_certificate_key ${reference};`];
    case 'haproxy':
      appendFileSync(file, readFileSync(reference));
      return ['crt', file];
  }
}

for (const name of several) {
  test(`${name} staples an OCSP response that says good`, asRoot, async (t) => {
    const cleanup = cleanupAfter(t);
    const deployment = await deployFleet(cleanup, keys);
    const { authority, token } = deployment;
    const responder = await responderOf(deployment);
    const url = await startResponder(cleanup, responder, deployment.folder);
    const response = path.join(deployment.folder, 'ocsp.der');
    const question = ['-issuer', authority.chainFile, '-cert', token.key('ec').certificateFile, '-no_nonce'];
    // nginx and haproxy read the response from a file, Apache asks for it.
    await mustRun('openssl', [...responder, ...question, '-respout', response]);
    const extra = name === 'nginx' ? ['ssl_stapling on;', `ssl_stapling_file ${response};`] : [];
    const adjust = (tree: Tree) => {
      if (name === 'haproxy') copyFileSync(response, tree.path('/etc/keyagent/ec.pem.ocsp'));
      if (name !== 'Apache event') return;
      const cache = `SSLStaplingCache shmcb:${tree.path('/run/apache2/stapling')}(128000)`;
      const lines = [cache, 'SSLUseStapling on', `SSLStaplingForceURL ${url}`, ''];
      tree.write('/etc/apache2/conf-enabled/stapling.conf', lines.join('\n'));
    };
    const server = await serve(cleanup, deployment, name, { extra: () => extra, adjust });
    const target = { port: server.port('ec'), ca: authority.root };
    const stapled = await waitFor('a response is stapled', async () => (await visit(target)).ocsp);
    writeFileSync(response, stapled);
    const { stdout } = await mustRun('openssl', [
      ...['ocsp', ...question, '-CAfile', authority.rootFile, '-respin', response],
    ]);
    assert.match(stdout, /: good$/m);
    await server.stop();
  });
}

/** `openssl ocsp` as responder, once for each request: its own server would listen on every address. @returns its URL */
async function startResponder(
  cleanup: Cleanup,
  responder: readonly string[],
  folder: string,
): Promise<string> {
  const answer = async (message: IncomingMessage): Promise<Buffer> => {
    const [question, response] = ['ocsp.request', 'ocsp.response'].map((name) => path.join(folder, name));
    writeFileSync(String(question), await buffer(message));
    await mustRun('openssl', [...responder, '-reqin', String(question), '-respout', String(response)]);
    return readFileSync(String(response));
  };
  const server = createServer((message, reply) => {
    answer(message).then(
      (der) => reply.setHeader('Content-Type', 'application/ocsp-response').end(der),
      (error: unknown) => reply.writeHead(500).end(String(error)),
    );
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  cleanup.after(() => {
    server.closeAllConnections();
    server.close();
  });
  return `http://127.0.0.1:${String((server.address() as AddressInfo).port)}/`;
}

/** The intermediate answers for the key's certificate: arguments of openssl. */
async function responderOf({ authority, folder, token }: Deployment): Promise<string[]> {
  const index = path.join(folder, 'index.txt');
  const { stdout } = await mustRun('openssl', [
    ...['x509', '-in', token.key('ec').certificateFile, '-noout', '-serial'],
  ]);
  const serial = stdout.trim().slice('serial='.length);
  writeFileSync(index, `V\t491231235959Z\t\t${serial}\tunknown\t/CN=localhost\n`);
  const signer = ['-rsigner', authority.chainFile, '-rkey', authority.chainFile.replace(/\.pem$/, '.key')];
  return ['ocsp', '-index', index, '-CA', authority.chainFile, '-nmin', '60', ...signer];
}

async function serve(
  cleanup: Cleanup,
  deployment: Deployment,
  name: KindName,
  changes: Partial<Pick<Site, 'extra' | 'adjust'>>,
): Promise<Server> {
  const backendPort = await startBackend(cleanup);
  return kinds[name].start(await makeSite(cleanup, deployment, { keys: ['ec'], backendPort, ...changes }));
}

function signatures({ agent }: Deployment): number {
  return auditOf(agent).filter(({ event, outcome }) => event === 'sign' && outcome === 'ok').length;
}
