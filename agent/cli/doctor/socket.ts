/**
 * Whether a user reaches the client socket, and if not, what is in the way. Facts: lstat(2) of the socket and of every
 * directory above it, and the user's groups. The judgements are pure.
 */
import { lstatSync, statSync } from 'node:fs';
import path from 'node:path';
import type { AgentError } from '@keyagent/protocol';
import { groupName } from '../../config/accounts.js';
import type { Account } from '../account.js';
import { note, ok, problem, type Check } from './check.js';

export interface Place {
  readonly path: string;
  readonly uid: number;
  readonly gid: number;
  readonly mode: number;
  /** undefined: the number has no name. */
  readonly group: string | undefined;
  /** What is needed there, as bits of "others": 1 to enter a directory, 2 to connect to a socket. */
  readonly needs: 1 | 2;
}

/** From / to the socket, as far as they are there. */
export function placesOf(socket: string): Place[] {
  const directories: string[] = [];
  for (let each = path.dirname(socket); ; each = path.dirname(each)) {
    directories.unshift(each);
    if (each === path.dirname(each)) break;
  }
  const found = [
    ...directories.map((each) => ({
      path: each,
      stats: statSync(each, { throwIfNoEntry: false }),
      needs: 1 as const,
    })),
    { path: socket, stats: lstatSync(socket, { throwIfNoEntry: false }), needs: 2 as const },
  ];
  return found.flatMap(({ path: each, stats, needs }) => {
    if (stats === undefined) return [];
    const { uid, gid, mode } = stats;
    return [{ path: each, uid, gid, mode, needs, group: groupName(gid) }];
  });
}

/** The first place whose mode shuts the user out; access control lists are not looked at. */
export function obstacle(places: readonly Place[], account: Account): Place | undefined {
  if (account.uid === 0) return undefined;
  return places.find(({ uid, gid, mode, needs }) => {
    const shift = uid === account.uid ? 6 : isMember(account, gid) ? 3 : 0;
    return ((mode >> shift) & needs) === 0;
  });
}

function isMember({ gid, groups }: Account, group: number): boolean {
  return gid === group || groups.includes(group);
}

export interface SocketFacts {
  readonly socket: string;
  readonly user: string;
  readonly account: Account;
  readonly places: readonly Place[];
  /** Of a connection that this user made. */
  readonly failure: AgentError | undefined;
}

export function socketCheck({ socket, user, account, places, failure }: SocketFacts): Check {
  const name = 'socket';
  if (failure === undefined) return ok(name, `${user} reaches ${socket}`);
  const { code, message } = failure;
  if (code === 'UNAVAILABLE') return note(name, `${socket}: nobody listens, so it was not tried`);
  if (code === 'UNTRUSTED') {
    const remedy = `make ${path.dirname(socket)} the agent's own, with mode 0750 or 0755, or run the agent as root's service`;
    return problem(name, code, message, remedy);
  }
  if (code !== 'DENIED') return problem(name, code, message, 'see the log of keyagentd');
  const place = obstacle(places, account);
  if (place === undefined)
    return problem(
      name,
      code,
      `${user} may not connect to ${socket}, although its modes let them`,
      'see getfacl(1) of it and the directories above',
    );
  return problem(
    name,
    code,
    `${user} may not ${doing(place)} (${ownership(place)})`,
    opening(place, user, account),
  );
}

function doing({ path: place, needs }: Place): string {
  return needs === 1 ? `enter ${place}` : `connect to ${place}`;
}

function ownership({ mode, uid, gid, group }: Place): string {
  return `mode ${(mode & 0o7777).toString(8).padStart(4, '0')}, uid ${uid}, group ${group ?? gid}`;
}

/** Nobody is told to join the group of root: that opens more than a socket. */
function opening({ path: place, mode, gid, group, needs }: Place, user: string, account: Account): string {
  const opensToGroup = ((mode >> 3) & needs) !== 0 && gid !== 0 && !isMember(account, gid);
  if (opensToGroup)
    return `usermod -aG ${group ?? gid} ${user}, then restart the server: a process keeps the groups it started with`;
  const wanted = 'set socket_group in [agent] to a group of the user and restart the agent';
  return needs === 1 ? `${wanted}, or chmod o+x ${place}` : `${wanted}; socket_mode must be 0660`;
}
