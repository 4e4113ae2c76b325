/** Apache as Debian ships it, with each of its MPMs: its default site serves plain HTTP, the recipe's serves TLS. */
import { readdirSync, rmSync, symlinkSync } from 'node:fs';
import { serverUser } from '../support/account.js';
import type { Mpm } from '../support/apache.js';
import { Server } from './server.js';
import { follow, type Site } from './site.js';

export async function startApache(mpm: Mpm, site: Site): Promise<Server> {
  const { tree, httpPort, ports, extra } = site;
  tree.copy('/etc/apache2', ['envvars']);
  chooseMpm(mpm, site);
  tree.write('/var/www/html/index.html', `a page of Apache ${mpm}\n`);
  for (const place of ['/var/log/apache2/error.log', '/run/apache2/keep', '/run/lock/apache2/keep'])
    tree.write(place, '');
  tree.edit('/etc/apache2/apache2.conf', (text) => tree.rewrite(text));
  tree.edit('/etc/apache2/sites-available/000-default.conf', (text) =>
    tree.rewrite(text.replace('*:80', `127.0.0.1:${String(httpPort)}`)),
  );
  tree.edit('/etc/apache2/ports.conf', (text) =>
    text
      .replace(/^Listen 80$/m, `Listen 127.0.0.1:${String(httpPort)}`)
      .replaceAll(
        /Listen 443$/gm,
        [...ports.values()].map((port) => `Listen 127.0.0.1:${String(port)}`).join('\n'),
      ),
  );
  await follow('apache', site, (key, port) => {
    tree.edit(`/etc/apache2/sites-available/${key}.conf`, (text) =>
      tree.rewrite(
        text
          .replace('*:443', `127.0.0.1:${String(port)}`)
          .replace('SSLEngine on', ['SSLEngine on', ...extra(key)].join('\n    ')),
      ),
    );
  });
  return Server.start(site, {
    name: `Apache ${mpm}`,
    // What apachectl does: the environment first.
    command: 'sh',
    args: [
      ...[
        '-ec',
        '. "$0/envvars"; exec apache2 -d "$0" -f apache2.conf -DFOREGROUND',
        tree.path('/etc/apache2'),
      ],
    ],
    env: { APACHE_CONFDIR: tree.path('/etc/apache2') },
    outputFile: tree.path('/var/log/apache2/output'),
    logFile: tree.path('/var/log/apache2/error.log'),
    ports,
    httpPort,
    reloadSignal: 'SIGUSR1',
    // Children end by themselves: SIGTERM has prefork's clean up within the signal, in the midst of what they do.
    stopSignal: 'SIGWINCH',
    started: 'resuming normal operations',
    reloaded: 'resuming normal operations',
    crash: /child pid \d+ exit signal/,
  });
}

function chooseMpm(mpm: Mpm, { tree }: Site): void {
  const enabled = tree.path('/etc/apache2/mods-enabled');
  for (const name of readdirSync(enabled).filter((each) => each.startsWith('mpm_')))
    rmSync(`${enabled}/${name}`);
  for (const end of ['conf', 'load'])
    symlinkSync(`../mods-available/mpm_${mpm}.${end}`, `${enabled}/mpm_${mpm}.${end}`);
  if (serverUser().name === 'www-data') return;
  tree.edit('/etc/apache2/envvars', (text) => text.replaceAll('=www-data', `=${serverUser().name}`));
}
