/** stunnel: starts as root, then is stunnel4 without any other group; so it has a socket of its own. */
import { certificateFile, pemSteps, referenceFile, unitSteps, type Recipe, type Subject } from './recipe.js';

export function stunnel(subject: Subject): Recipe {
  const { uri, name } = subject;
  return {
    comment: ';',
    steps: [
      ...pemSteps(subject),
      `keyagent conf stunnel '${uri}' > /etc/stunnel/${name}.conf`,
      ...unitSteps(`stunnel@${name}`, 'KEYAGENT_SOCK=/run/keyagent-stunnel/agent.sock'),
      `systemctl restart stunnel@${name}`,
    ],
    text: `foreground = yes
setuid = stunnel4
setgid = stunnel4

[${name}]
accept = 443
connect = 127.0.0.1:8080
cert = ${certificateFile(subject)}
key = ${referenceFile(subject)}
`,
  };
}
