/** openssl s_server, as www-data: one process, one connection after the other. */
import { writeFileSync } from 'node:fs';
import path from 'node:path';
import { serverUser } from '../support/account.js';
import { Server } from './server.js';
import type { Site } from './site.js';

export async function startOpensslServer(site: Site): Promise<Server> {
  const { deployment, ports, tree, extra } = site;
  const [first, ...others] = ports;
  if (first === undefined || others.length > 0) throw new Error('openssl s_server has one key');
  const [key, port] = first;
  const { name, group } = serverUser();
  const chain = path.join(tree.folder, `${key}-chain.pem`);
  writeFileSync(chain, await deployment.agent.mustKeyagent(['cert', '--chain', deployment.uri(key, 'cert')]));
  return Server.start(site, {
    name: 'openssl s_server',
    launcher: ['setpriv', `--reuid=${name}`, `--regid=${group}`, '--init-groups'],
    command: 'openssl',
    args: [
      ...['s_server', '-quiet', '-www', '-accept', `127.0.0.1:${String(port)}`],
      ...['-cert', chain, '-cert_chain', chain, '-key', await deployment.referenceFile(key), ...extra(key)],
    ],
    env: deployment.opensslEnv,
    outputFile: path.join(tree.folder, `s_server-${String(port)}.log`),
    ports,
    // It has no handler: any signal ends it.
    endings: ['SIGTERM'],
  });
}
