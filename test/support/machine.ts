/**
 * This machine once more, booted by systemd in a container: its root file system under a layer that is thrown away, with
 * a system manager, users and a network of its own. The checkout is at /opt/keyagent in there.
 */
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { readdirSync, rmdirSync } from 'node:fs';
import path from 'node:path';
import { isRoot } from './account.js';
import { cgroupRoot } from './cgroup.js';
import type { Cleanup } from './cleanup.js';
import { runCommand, type CommandOptions, type CommandResult } from './command.js';
import { root } from './paths.js';
import { childrenOf, nameOf } from './proc.js';
import { waitFor } from './wait.js';

/** In a mount namespace of its own, so that nothing remains. $1: what to do in it; $2: the cgroup. */
const inLayer = `set -e
mount -t tmpfs tmpfs /run
mkdir /run/upper /run/work /run/root
mount -t overlay -o lowerdir=/,upperdir=/run/upper,workdir=/run/work overlay /run/root
`;
/** Of the host's services none starts: only what a boot needs. */
const boot = `${inLayer}
cd /run/root/etc
rm -rf systemd/system/*.wants
tr -d - < /proc/sys/kernel/random/uuid > machine-id
printf '[Unit]\\nRequires=basic.target\\nAfter=basic.target\\n' > systemd/system/test.target
umount -R /sys/fs/cgroup
mount -t cgroup2 cgroup2 /sys/fs/cgroup
mkdir "/sys/fs/cgroup/$2"
echo $$ > "/sys/fs/cgroup/$2/cgroup.procs"
exec systemd-nspawn --quiet --register=no --keep-unit --private-network --console=pipe --directory=/run/root \\
  --system-call-filter=@memlock --bind-ro="$1:/opt/keyagent" /lib/systemd/systemd --unit=test.target
`;
const namespace = ['--mount', '--propagation=private', 'sh', '-c'];

/** What keeps this machine from booting another; undefined: nothing. */
export async function whyNoMachine(): Promise<string | undefined> {
  if (!isRoot || cgroupRoot() === undefined) return 'needs root and a cgroup2 mount, to boot a container';
  if (/^\/(root|home)\//.test(process.execPath))
    return 'needs a node outside of /root and /home, which the unit hides';
  const { status, stderr } = await runCommand('unshare', [
    ...namespace,
    `${inLayer} systemd-nspawn --version`,
  ]);
  return status === 0 ? undefined : `no container can be made here: ${stderr.trim()}`;
}

export class Machine {
  private constructor(private readonly init: number) {}

  static async boot(cleanup: Cleanup): Promise<Machine> {
    const cgroup = `keyagent-test-${process.pid}`;
    const args = [...namespace, boot, 'sh', root, cgroup];
    const child = spawn('unshare', args, { stdio: ['ignore', 'ignore', 'inherit'] });
    const machine = await waitFor('the container has an init', () => {
      if (child.exitCode !== null) throw new Error(`the container ended with ${child.exitCode}`);
      // Before, the shell has children of its own.
      const init = childrenOf(child.pid ?? 0).find((pid) => nameOf(pid) === 'systemd');
      return init !== undefined && new Machine(init);
    });
    cleanup.after(async () => {
      const ended = once(child, 'exit');
      // The end of its first process is the end of the container.
      process.kill(machine.init, 'SIGKILL');
      await ended;
      await waitFor('its processes are gone', () => removed(path.join(cgroupRoot() ?? '', cgroup)));
    });
    await waitFor('systemd has booted', () => machine.#isBooted(), 60_000);
    return machine;
  }

  async #isBooted(): Promise<boolean> {
    return (await this.run('systemctl', ['is-active', '--quiet', 'test.target'])).status === 0;
  }

  /** Runs a command as root in there, outside of every unit. */
  run(command: string, args: readonly string[], options: CommandOptions = {}): Promise<CommandResult> {
    return runCommand('nsenter', ['--all', `--target=${this.init}`, '--', command, ...args], options);
  }

  /** As run, and fails with what it printed unless it exits with 0. */
  async mustRun(command: string, args: readonly string[], options: CommandOptions = {}): Promise<string> {
    const { status, stdout, stderr } = await this.run(command, args, options);
    if (status !== 0) throw new Error(`${command} ${args.join(' ')}: exit ${status}\n${stderr}${stdout}`);
    return stdout;
  }

  /** Runs a command as the only process of a service. */
  service(unit: string, properties: readonly string[], command: readonly string[]): Promise<CommandResult> {
    const settings = properties.map((each) => `--property=${each}`);
    const args = [
      '--quiet',
      '--wait',
      '--pipe',
      '--collect',
      `--unit=${unit}`,
      ...settings,
      '--',
      ...command,
    ];
    return this.run('systemd-run', args);
  }

  async write(file: string, content: string): Promise<void> {
    const script = 'mkdir -p "$(dirname "$1")" && cat > "$1"';
    await this.mustRun('sh', ['-c', script, 'sh', file], { input: content });
  }
}

/** A cgroup goes when those below it are gone, and those when their processes are. */
function removed(cgroup: string): boolean {
  try {
    for (const entry of readdirSync(cgroup, { withFileTypes: true })) {
      if (entry.isDirectory() && !removed(path.join(cgroup, entry.name))) return false;
    }
    rmdirSync(cgroup);
    return true;
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException;
    if (code === 'ENOENT') return true;
    if (code === 'EBUSY') return false;
    throw error;
  }
}
