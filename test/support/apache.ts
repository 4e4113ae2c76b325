/** A real Apache on 127.0.0.1 with a configuration of the test's own: the parent keeps its user, children drop theirs. */
import { existsSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { isRoot, serverUser } from './account.js';
import type { Cleanup } from './cleanup.js';
import { Daemon } from './daemon.js';
import { apacheModules } from './paths.js';
import { acceptsTcp, freePort } from './port.js';
import { childrenOf } from './proc.js';
import { waitFor } from './wait.js';

export const mpms = ['event', 'worker', 'prefork'] as const;
export type Mpm = (typeof mpms)[number];

/** Each a file or a pkcs11: URI. */
export interface KeyPair {
  /** SSLCertificateFile */
  certificate: string;
  /** SSLCertificateKeyFile */
  key: string;
}

export interface ApacheSpec {
  /** An existing folder; several servers may share it. */
  folder: string;
  mpm: Mpm;
  pairs: readonly KeyPair[];
  /** SSLCertificateChainFile. */
  chainFile: string;
  /** More lines for the virtual host. */
  directives?: readonly string[];
  env?: Record<string, string>;
}

export const page = 'served by Apache\n';

/** Idle children are never ended, so that only a restart changes them. */
const workers: Record<Mpm, string> = {
  event:
    'StartServers 2\nServerLimit 4\nThreadsPerChild 16\nMaxRequestWorkers 64\nMinSpareThreads 16\nMaxSpareThreads 64',
  worker:
    'StartServers 2\nServerLimit 4\nThreadsPerChild 16\nMaxRequestWorkers 64\nMinSpareThreads 16\nMaxSpareThreads 64',
  prefork: 'StartServers 4\nMinSpareServers 4\nMaxSpareServers 16\nMaxRequestWorkers 16',
};

export class Apache {
  readonly port: number;
  readonly #daemon: Daemon;
  readonly #errorLog: string;

  private constructor(daemon: Daemon, port: number, errorLog: string) {
    this.#daemon = daemon;
    this.port = port;
    this.#errorLog = errorLog;
  }

  /** Answers once its children serve. */
  static async start(cleanup: Cleanup, spec: ApacheSpec): Promise<Apache> {
    const port = await freePort();
    const folder = path.join(spec.folder, `apache-${spec.mpm}-${String(port)}`);
    mkdirSync(path.join(folder, 'htdocs'), { recursive: true });
    mkdirSync(path.join(folder, 'no-engines'));
    writeFileSync(path.join(folder, 'htdocs/index.html'), page);
    const configuration = path.join(folder, 'httpd.conf');
    writeFileSync(configuration, httpdConf(folder, port, spec));
    // mod_ssl asks the ENGINE named pkcs11 before it asks OSSL_STORE: hide one that may be installed.
    const env = { OPENSSL_ENGINES: path.join(folder, 'no-engines'), ...spec.env };
    const daemon = new Daemon(cleanup, {
      command: 'apache2',
      args: ['-d', folder, '-f', configuration, '-DFOREGROUND'],
      env,
      logFile: path.join(folder, 'output.log'),
    });
    const apache = new Apache(daemon, port, path.join(folder, 'error.log'));
    await waitFor(`Apache (${spec.mpm}) serves on port ${String(port)}`, () => {
      apache.mustRun();
      return apache.#starts() > 0 && apache.children().length > 0 && acceptsTcp(port);
    });
    return apache;
  }

  get pid(): number {
    return this.#daemon.pid;
  }

  /** Pids of the processes that serve. */
  children(): number[] {
    return childrenOf(this.pid);
  }

  errorLog(): string {
    return existsSync(this.#errorLog) ? readFileSync(this.#errorLog, 'utf8') : '';
  }

  /** Throws when the parent ended, with the logs. */
  mustRun(): void {
    if (!this.#daemon.running) throw new Error(`Apache ended:\n${this.#daemon.log}${this.errorLog()}`);
  }

  /** A graceful restart: reads everything again, new children replace the old ones. Answers once it is through. */
  async graceful(): Promise<void> {
    const before = this.#starts();
    this.#daemon.signal('SIGUSR1');
    await waitFor('Apache is through its graceful restart', () => {
      this.mustRun();
      return this.#starts() > before;
    });
  }

  /** As graceful, and waits until the old children are gone. */
  async replaceChildren(): Promise<void> {
    const old = new Set(this.children());
    await this.graceful();
    await waitFor('the old children have finished', () => !this.children().some((child) => old.has(child)));
  }

  stop(): Promise<void> {
    return this.#daemon.stop();
  }

  #starts(): number {
    return this.errorLog().split('resuming normal operations').length - 1;
  }
}

function httpdConf(folder: string, port: number, spec: ApacheSpec): string {
  const user = serverUser();
  const pairs = spec.pairs.flatMap(({ certificate, key }) => [
    `SSLCertificateFile "${certificate}"`,
    `SSLCertificateKeyFile "${key}"`,
  ]);
  const lines = [...pairs, `SSLCertificateChainFile "${spec.chainFile}"`, ...(spec.directives ?? [])];
  const modules = [`mpm_${spec.mpm}`, 'authz_core', 'mime', 'dir', 'ssl'];
  return `${modules.map((name) => `LoadModule ${name}_module ${apacheModules}/mod_${name}.so`).join('\n')}
ServerName localhost
Listen 127.0.0.1:${String(port)}
PidFile ${folder}/httpd.pid
DefaultRuntimeDir ${folder}
ErrorLog ${folder}/error.log
LogLevel info ssl:info
${isRoot ? `User ${user.name}\nGroup ${user.group}` : ''}
${workers[spec.mpm]}
TypesConfig /dev/null
DocumentRoot ${folder}/htdocs
<Directory ${folder}/htdocs>
  Require all granted
</Directory>
SSLSessionCache none
<VirtualHost 127.0.0.1:${String(port)}>
  SSLEngine on
  SSLSessionTickets off
${lines.map((line) => `  ${line}\n`).join('')}</VirtualHost>
`;
}
