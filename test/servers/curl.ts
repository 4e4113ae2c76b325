/** curl as www-data with a client certificate whose key is in the token, and a server that demands it. */
import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { once } from 'node:events';
import { readFileSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:https';
import type { AddressInfo } from 'node:net';
import path from 'node:path';
import { TLSSocket } from 'node:tls';
import { promisify } from 'node:util';
import { serverUser } from '../support/account.js';
import { mustRun } from '../support/command.js';
import type { Deployment } from '../support/deployment.js';
import { makeKeyFile } from '../support/softhsm.js';

const processes = 8;

/**
 * Eight curls at a time; each makes its requests one after the other, every one with a handshake of its own.
 * @param tls    1.2, 1.3
 * @returns fingerprints of the certificates that the server saw, one for each request that it answered
 */
export async function startCurls(
  deployment: Deployment,
  label: string,
  tls: string,
  count: number,
): Promise<{ tried: number; peers: string[] }> {
  const { authority, folder, agent, opensslEnv } = deployment;
  const certificate = path.join(folder, `${label}-client.pem`);
  writeFileSync(certificate, await agent.mustKeyagent(['cert', '--chain', deployment.uri(label, 'cert')]));
  const reference = await deployment.referenceFile(label);
  const { port, peers, close } = await startDemandingServer(deployment);
  const url = `https://localhost:${String(port)}/`;
  const version = [`--tlsv${tls}`, '--tls-max', tls, '--no-sessionid'];
  const identity = ['--cacert', authority.rootFile, '--cert', certificate, '--key', reference];
  const urls = Array.from({ length: count / processes }, () => ['--output', '/dev/null', url]).flat();
  const { name, group } = serverUser();
  const args = [
    `--reuid=${name}`,
    `--regid=${group}`,
    '--init-groups',
    'curl',
    '--silent',
    '--show-error',
    '--fail',
  ];
  try {
    await Promise.all(
      Array.from({ length: processes }, () =>
        promisify(execFile)('setpriv', [...args, ...version, ...identity, ...urls], {
          env: { ...process.env, ...opensslEnv },
        }),
      ),
    );
  } finally {
    close();
  }
  return { tried: count, peers };
}

export async function startDemandingServer({
  authority,
  folder,
}: Deployment): Promise<{ port: number; peers: string[]; close: () => void }> {
  const file = path.join(folder, 'demanding.key');
  const key = await makeKeyFile(file, 'EC:prime256v1');
  await mustRun('openssl', ['pkey', '-in', file, '-pubout', '-out', `${file}.pub`]);
  const certificate = readFileSync(await authority.certify('demanding', `${file}.pub`), 'utf8');
  const cert = certificate + readFileSync(authority.chainFile, 'utf8');
  const peers: string[] = [];
  const options = { key, cert, ca: authority.root, requestCert: true, rejectUnauthorized: true };
  const server = createServer(options, (request, response) => {
    assert.ok(request.socket instanceof TLSSocket);
    peers.push(request.socket.getPeerCertificate().fingerprint256);
    response.setHeader('Connection', 'close').end('ok\n');
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  const close = () => {
    server.closeAllConnections();
    server.close();
  };
  return { port: (server.address() as AddressInfo).port, peers, close };
}
