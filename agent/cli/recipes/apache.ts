/** Apache: mod_ssl takes the key as URI, and the certificate with its issuers from a file. */
import { certificateFile, commonSteps, opensslFile, type Recipe, type Subject } from './recipe.js';

/** mod_ssl asks an ENGINE named pkcs11 before it asks OpenSSL's providers: an empty folder has none. */
const noEngines = '/etc/keyagent/no-engines';

export function apache(subject: Subject): Recipe {
  const { uri, name } = subject;
  return {
    comment: '#',
    steps: [
      ...commonSteps(subject),
      `mkdir -p ${noEngines}`,
      `echo 'export OPENSSL_CONF=${opensslFile} OPENSSL_ENGINES=${noEngines}' >> /etc/apache2/envvars`,
      `keyagent conf apache '${uri}' > /etc/apache2/sites-available/${name}.conf`,
      'a2enmod ssl',
      `a2ensite ${name}`,
      'systemctl restart apache2',
    ],
    text: `<VirtualHost *:443>
    DocumentRoot /var/www/html
    SSLEngine on
    SSLCertificateFile    ${certificateFile(subject)}
    SSLCertificateKeyFile "${uri}"
</VirtualHost>
`,
  };
}
