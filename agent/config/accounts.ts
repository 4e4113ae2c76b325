/**
 * User and group names to numbers and back, through getent so that every NSS source counts (LDAP, systemd, files).
 * Input: a name, as the configuration has it, or a gid. Output: the uid or gid, or the name; undefined if there is none.
 */
import { spawnSync } from 'node:child_process';
import { AgentError } from '@keyagent/protocol';

const timeoutMs = 10_000;
/** getent(1): "one or more supplied key could not be found in the database". */
const notFound = 2;

export function userId(name: string): number | undefined {
  return lookUp('passwd', name);
}

export function groupId(name: string): number | undefined {
  return lookUp('group', name);
}

export function groupName(gid: number): string | undefined {
  return entry('group', String(gid))?.[0];
}

function lookUp(database: 'passwd' | 'group', name: string): number | undefined {
  // getent looks a name of digits up as a number; passwd(5) and group(5) have the name first, the id third.
  const [foundName, , id] = entry(database, name) ?? [];
  return foundName === name && id !== undefined && /^\d+$/.test(id) ? Number(id) : undefined;
}

function entry(database: 'passwd' | 'group', name: string): string[] | undefined {
  const result = spawnSync('getent', [database, '--', name], {
    encoding: 'utf8',
    timeout: timeoutMs,
    env: { PATH: '/usr/bin:/bin', LC_ALL: 'C' },
    stdio: ['ignore', 'pipe', 'pipe'],
  });
  if (result.status === notFound) return undefined;
  if (result.status !== 0) {
    const why = result.error?.message ?? (result.stderr.trim() || `exit status ${result.status}`);
    throw new AgentError('CONFIGURATION', `getent ${database} ${name} failed (${why}); check nsswitch.conf`, {
      cause: result.error,
    });
  }
  return result.stdout.split('\n', 1)[0]?.split(':');
}
