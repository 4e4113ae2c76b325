/**
 * PostgreSQL: the server runs as postgres from the start, on a socket for that group, and refuses key files that others
 * may read.
 */
import {
  certificateFile,
  opensslFile,
  pemSteps,
  referenceFile,
  type Recipe,
  type Subject,
} from './recipe.js';

/** The first cluster of Debian 12. */
const cluster = '/etc/postgresql/15/main';

export function postgres(subject: Subject): Recipe {
  const { uri } = subject;
  const key = referenceFile(subject);
  return {
    comment: '#',
    steps: [
      ...pemSteps(subject),
      `chown root:postgres ${key}`,
      `chmod 640 ${key}`,
      `echo "OPENSSL_CONF = '${opensslFile}'" >> ${cluster}/environment`,
      `echo "KEYAGENT_SOCK = '/run/keyagent-postgres/agent.sock'" >> ${cluster}/environment`,
      `keyagent conf postgres '${uri}' > ${cluster}/conf.d/keyagent.conf`,
      'systemctl restart postgresql@15-main',
    ],
    text: `ssl = on
ssl_cert_file = '${certificateFile(subject)}'
ssl_key_file = '${key}'
`,
  };
}
