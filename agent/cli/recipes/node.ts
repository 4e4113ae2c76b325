/** Node: a configuration of OpenSSL for Node's own copy of it; the key is a PEM reference for createPrivateKey and tls. */
import { opensslConf } from './openssl.js';
import { certificateFile, referenceFile, type Recipe, type Subject } from './recipe.js';

export function node(subject: Subject, socket: string | undefined): Recipe {
  const { uri } = subject;
  return {
    comment: '#',
    steps: [
      'mkdir -p /etc/keyagent',
      `keyagent conf node '${uri}' > /etc/keyagent/node.cnf`,
      `keyagent cert --chain '${uri}' > ${certificateFile(subject)}`,
      `keyagent ref '${uri}' > ${referenceFile(subject)}`,
      'node --openssl-config=/etc/keyagent/node.cnf server.js',
    ],
    text: opensslConf({ socket, entry: 'nodejs_conf', exportPublic: true }),
  };
}
