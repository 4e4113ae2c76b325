/** stunnel as Debian's unit starts it: as root, then stunnel4 without any other group; in front of a plain HTTP server. */
import { Server } from './server.js';
import { follow, type Site } from './site.js';

export async function startStunnel(site: Site): Promise<Server> {
  const { tree, backendPort, extra, ports } = site;
  const services: string[] = [];
  tree.write('/etc/stunnel/README', '');
  await follow('stunnel', site, (key, port) => {
    const text = tree
      .read(`/etc/stunnel/${key}.conf`)
      .replace('accept = 443', `accept = 127.0.0.1:${String(port)}`)
      .replace(/connect = .*/, [`connect = 127.0.0.1:${String(backendPort)}`, ...extra(key)].join('\n'));
    const [global = '', service = ''] = tree.rewrite(text).split(/^(?=\[)/m);
    // One process for all keys; each would have its own.
    if (services.length === 0) services.push(`debug = info\n${global}`);
    services.push(service);
  });
  // The first key's unit stands for all.
  const [first = ''] = ports.keys();
  const environment = Object.entries(tree.unitEnvironment(`stunnel@${first}.service`));
  tree.write('/etc/stunnel/all.conf', services.join('\n'));
  return Server.start(site, {
    name: 'stunnel',
    command: 'stunnel4',
    args: [tree.path('/etc/stunnel/all.conf')],
    env: Object.fromEntries(environment.map(([name, value]) => [name, tree.rewrite(value)])),
    outputFile: tree.path('/var/log/stunnel'),
    ports,
    reloadSignal: 'SIGHUP',
    started: ') bound to ',
    // It has read its configuration before it closes its sockets and opens them again.
    reloaded: ') bound to ',
  });
}
