/** nginx as Debian ships it: its default site serves plain HTTP, the recipe's serves TLS. */
import { Server } from './server.js';
import { follow, type Site } from './site.js';

export async function startNginx(site: Site): Promise<Server> {
  const { tree, httpPort, extra } = site;
  tree.copy('/etc/nginx', ['nginx.conf', 'sites-available/default']);
  tree.write('/var/www/html/index.html', 'a page of nginx\n');
  tree.write('/var/log/nginx/error.log', '');
  tree.edit('/etc/nginx/sites-available/default', (text) =>
    text.replace('listen 80 ', `listen 127.0.0.1:${String(httpPort)} `).replace(/listen \[::\].*/, ''),
  );
  await follow('nginx', site, (key, port) => {
    tree.edit(`/etc/nginx/conf.d/${key}.conf`, (text) =>
      tree.rewrite(
        text.replace(
          'listen 443 ssl;',
          [`listen 127.0.0.1:${String(port)} ssl;`, ...extra(key)].join('\n    '),
        ),
      ),
    );
  });
  return Server.start(site, {
    name: 'nginx',
    command: 'nginx',
    args: [
      ...['-c', tree.path('/etc/nginx/nginx.conf'), '-e', tree.path('/var/log/nginx/error.log')],
      ...['-g', 'daemon off; master_process on;'],
    ],
    env: tree.unitEnvironment('nginx.service'),
    outputFile: tree.path('/var/log/nginx/output'),
    logFile: tree.path('/var/log/nginx/error.log'),
    ports: site.ports,
    httpPort,
    reloadSignal: 'SIGHUP',
    stopSignal: 'SIGQUIT',
    crash: /process \d+ exited on signal/,
  });
}
