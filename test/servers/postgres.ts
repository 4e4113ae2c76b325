/** PostgreSQL as Debian makes a cluster, with its password rules: a client gets as far as being asked for one. */
import { readdirSync, rmSync } from 'node:fs';
import path from 'node:path';
import { account } from '../support/account.js';
import { mustRun } from '../support/command.js';
import { Server } from './server.js';
import { follow, type Site } from './site.js';

const library = '/usr/lib/postgresql';

export async function startPostgres(site: Site): Promise<Server> {
  const { tree, extra } = site;
  const [key, ...others] = site.ports;
  if (key === undefined || others.length > 0) throw new Error('PostgreSQL has one key');
  const version = readdirSync(library).at(-1) ?? '15';
  const { name, group } = account('postgres');
  const folder = `/etc/postgresql/${version}/main`;
  const [data, run] = ['/var/lib/postgresql', '/run/postgresql'].map((place) => tree.path(place));
  for (const place of ['/etc/postgresql', '/var/lib/postgresql'])
    rmSync(tree.path(place), { recursive: true, force: true });
  await mustRun('install', ['-d', '-o', name, '-g', group, data, run].map(String));
  await mustRun(
    'pg_createcluster',
    [
      ...['--datadir', path.join(String(data), 'main'), '--socketdir', String(run), '--port', String(key[1])],
      ...['--logfile', tree.path('/var/log/postgresql.log'), version, 'main', '--', '--no-sync'],
    ],
    { env: { PG_CLUSTER_CONF_ROOT: tree.path('/etc/postgresql') } },
  );
  tree.edit(`${folder}/postgresql.conf`, (text) =>
    text
      .replace(/^external_pid_file.*/m, '')
      .replace(/^#?listen_addresses.*/m, "listen_addresses = '127.0.0.1'"),
  );
  await follow('postgres', site, () => {
    tree.edit(`${folder}/conf.d/keyagent.conf`, (text) =>
      tree.rewrite([text, ...extra(key[0]), ''].join('\n')),
    );
  });
  const environment = tree.read(`${folder}/environment`).matchAll(/^(\w+) = '(.*)'$/gm);
  return Server.start(site, {
    name: 'PostgreSQL',
    launcher: ['setpriv', `--reuid=${name}`, `--regid=${group}`, '--init-groups'],
    command: path.join(library, version, 'bin/postgres'),
    args: [
      ...['-D', path.join(String(data), 'main'), '-c', `config_file=${tree.path(folder)}/postgresql.conf`],
    ],
    env: Object.fromEntries([...environment].map(([, variable = '', value = '']) => [variable, value])),
    outputFile: tree.path('/var/log/postgresql.log'),
    ports: site.ports,
    reloadSignal: 'SIGHUP',
    started: 'ready to accept connections',
    reloaded: 'reloading configuration files',
    stopSignal: 'SIGINT',
    crash: /was terminated by signal/,
  });
}
