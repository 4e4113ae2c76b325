/** openssl s_server, as www-data: one process, one connection after the other. */
import { serverUser } from '../support/account.js';
import { Server } from './server.js';
import type { Site } from './site.js';

export async function startOpensslServer(site: Site): Promise<Server> {
  const { deployment, ports, tree, extra, adjust } = site;
  const [first, ...others] = ports;
  if (first === undefined || others.length > 0) throw new Error('openssl s_server has one key');
  const [key, port] = first;
  const { name, group } = serverUser();
  const uri = deployment.uri(key, 'private');
  const file = (end: string) => tree.path(`/etc/keyagent/${key}.${end}`);
  const conf = tree.path('/etc/keyagent/openssl.cnf');
  await tree.run(
    [
      // One that PostgreSQL left there is for its user only.
      `rm -f ${file('key')}`,
      `keyagent conf openssl > ${conf}`,
      `keyagent cert --chain '${uri}' > ${file('pem')}`,
      `keyagent ref '${uri}' > ${file('key')}`,
    ],
    { KEYAGENT_SOCK: deployment.agent.socket },
  );
  adjust(tree);
  return Server.start(site, {
    name: 'openssl s_server',
    launcher: ['setpriv', `--reuid=${name}`, `--regid=${group}`, '--init-groups'],
    command: 'openssl',
    args: [
      ...['s_server', '-quiet', '-www', '-accept', `127.0.0.1:${String(port)}`],
      ...['-cert', file('pem'), '-cert_chain', file('pem'), '-key', file('key'), ...extra(key)],
    ],
    env: { OPENSSL_CONF: conf },
    outputFile: tree.path(`/var/log/s_server-${key}`),
    ports,
    // It has no handler: any signal ends it.
    endings: ['SIGTERM'],
  });
}
