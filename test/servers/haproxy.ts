/** haproxy as Debian ships it: in its chroot, as haproxy without any other group, under its master. */
import { mkdirSync } from 'node:fs';
import { Server } from './server.js';
import { follow, type Site } from './site.js';

export async function startHaproxy(site: Site): Promise<Server> {
  const { tree, backendPort, extra } = site;
  tree.copy('/etc/haproxy', ['haproxy.cfg']);
  mkdirSync(tree.path('/run/haproxy'));
  mkdirSync(tree.path('/var/lib/haproxy'), { recursive: true });
  await follow('haproxy', site, (key, port) => {
    tree.edit('/etc/haproxy/haproxy.cfg', (text) =>
      tree.rewrite(
        text
          .replace(/bind :443 (.*)/, [`bind 127.0.0.1:${String(port)} $1`, ...extra(key)].join(' '))
          .replace('server app 127.0.0.1:8080', `server app 127.0.0.1:${String(backendPort)}`),
      ),
    );
  });
  return Server.start(site, {
    name: 'haproxy',
    command: 'haproxy',
    args: ['-Ws', '-f', tree.path('/etc/haproxy/haproxy.cfg'), '-p', tree.path('/run/haproxy.pid')],
    env: tree.unitEnvironment('haproxy.service'),
    outputFile: tree.path('/var/log/haproxy.log'),
    ports: site.ports,
    started: 'Loading success',
    reloadSignal: 'SIGUSR2',
    // Said by its master once that listens to signals again.
    reloaded: 'Former worker',
    // SuccessExitStatus= of its unit.
    endings: [0, 143, 'SIGTERM'],
    crash: /exited with code 1(?:2[89]|3\d|4[012]) /,
  });
}
