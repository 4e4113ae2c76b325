/** haproxy: one file with certificates and key; what listens and where it goes. Its chroot needs a socket of its own. */
import { certificateFile, commonSteps, unitSteps, type Recipe, type Subject } from './recipe.js';

export function haproxy(subject: Subject): Recipe {
  const { uri, name } = subject;
  const file = certificateFile(subject);
  return {
    comment: '#',
    steps: [
      ...commonSteps(subject),
      `keyagent ref '${uri}' >> ${file}`,
      `keyagent conf haproxy '${uri}' >> /etc/haproxy/haproxy.cfg`,
      ...unitSteps('haproxy'),
      'systemctl restart haproxy',
    ],
    text: `frontend ${name}
    bind :443 ssl crt ${file}
    default_backend ${name}

backend ${name}
    server app 127.0.0.1:8080
`,
  };
}
