/** A user as the kernel would show it to the agent after a login: uid, primary group and all others, from id(1). */
import { spawnSync } from 'node:child_process';
import { AgentError } from '@keyagent/protocol';

export interface Account {
  readonly uid: number;
  readonly gid: number;
  readonly groups: readonly number[];
}

/** @param name or number. @throws AgentError INVALID */
export function accountOf(name: string): Account {
  const [uid, gid] = [ids('--user', name)[0], ids('--group', name)[0]];
  if (uid === undefined || gid === undefined) throw unknown(name, 'id printed nothing');
  return { uid, gid, groups: ids('--groups', name) };
}

function ids(which: '--user' | '--group' | '--groups', name: string): number[] {
  const { status, stdout, stderr, error } = spawnSync('id', [which, '--', name], {
    encoding: 'utf8',
    timeout: 10_000,
    env: { PATH: '/usr/bin:/bin', LC_ALL: 'C' },
  });
  if (status !== 0) throw unknown(name, error?.message ?? stderr.trim());
  return stdout.trim().split(' ').map(Number);
}

function unknown(name: string, why: string): AgentError {
  return new AgentError('INVALID', `user "${name}" is not known here (${why}); name a user of this system`);
}
