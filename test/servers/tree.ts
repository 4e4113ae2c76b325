/**
 * A machine's /etc, /run and /var as Debian's packages leave them, in a folder: servers start from there, and commands
 * and configurations that name those places are led there. What runs is the machine's.
 */
import {
  cpSync,
  existsSync,
  lstatSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  readlinkSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import path from 'node:path';
import { mustRun } from '../support/command.js';
import { keyagentCommand } from '../support/paths.js';

const places = /(?<![\w.}/-])\/(?=(?:etc|run|var)(?:\/|\b))/g;

export class Tree {
  constructor(readonly folder: string) {
    for (const place of ['/etc/systemd', '/etc/keyagent', '/run/keyagent', '/var/log', '/var/lib']) {
      mkdirSync(this.path(place), { recursive: true });
    }
    for (const place of ['run', 'lock'])
      if (!existsSync(this.path(`/var/${place}`))) symlinkSync(this.path('/run'), this.path(`/var/${place}`));
  }

  path(place: string): string {
    return this.folder + place;
  }

  /** Has it from the machine, and leads the places that its files name here. */
  copy(place: string, files: readonly string[]): void {
    rmSync(this.path(place), { recursive: true, force: true });
    cpSync(place, this.path(place), { recursive: true, verbatimSymlinks: true });
    for (const name of readdirSync(this.path(place), { recursive: true, encoding: 'utf8' })) {
      this.#keepInside(path.join(this.path(place), name));
    }
    for (const file of files) this.edit(path.join(place, file), (text) => this.rewrite(text));
  }

  rewrite(text: string): string {
    return text.replace(places, `${this.folder}/`);
  }

  read(place: string): string {
    return existsSync(this.path(place)) ? readFileSync(this.path(place), 'utf8') : '';
  }

  write(place: string, text: string): void {
    mkdirSync(path.dirname(this.path(place)), { recursive: true });
    writeFileSync(this.path(place), text);
  }

  edit(place: string, change: (text: string) => string): void {
    this.write(place, change(this.read(place)));
  }

  /** Runs commands as an administrator types them, but for those that talk to the system manager. */
  async run(commands: readonly string[], env: Record<string, string>): Promise<void> {
    const ours = commands.filter((command) => !command.startsWith('systemctl '));
    await mustRun('sh', ['-euc', this.rewrite(ours.join('\n'))], {
      env: {
        PATH: `${path.dirname(keyagentCommand)}:${process.env.PATH ?? ''}`,
        APACHE_CONFDIR: this.path('/etc/apache2'),
        ...env,
      },
    });
  }

  /** A link that leads out would have a test write into the machine's own files. */
  #keepInside(link: string): void {
    if (!lstatSync(link).isSymbolicLink()) return;
    const target = readlinkSync(link);
    if (!path.isAbsolute(target)) return;
    rmSync(link);
    symlinkSync(this.rewrite(target), link);
  }

  /** What a drop-in of a unit sets. */
  unitEnvironment(unit: string): Record<string, string> {
    const text = this.read(`/etc/systemd/system/${unit}.d/keyagent.conf`);
    return Object.fromEntries(
      [...text.matchAll(/^Environment=(\w+)=(.*)$/gm)].map(([, name = '', value = '']) => [name, value]),
    );
  }
}
