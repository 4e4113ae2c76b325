/** nginx: reads the key from a PEM file; its master as root, and its workers use it as www-data. */
import { certificateFile, pemSteps, referenceFile, unitSteps, type Recipe, type Subject } from './recipe.js';

export function nginx(subject: Subject): Recipe {
  const { uri, name } = subject;
  return {
    comment: '#',
    steps: [
      ...pemSteps(subject),
      `keyagent conf nginx '${uri}' > /etc/nginx/conf.d/${name}.conf`,
      ...unitSteps('nginx'),
      'systemctl restart nginx',
    ],
    text: `server {
    listen 443 ssl;
    root /var/www/html;
    ssl_certificate     ${certificateFile(subject)};
    ssl_certificate_key ${referenceFile(subject)};
}
`,
  };
}
