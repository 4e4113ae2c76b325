/**
 * Whether a socket is the agent's, before anything is sent there (PROTOCOL.md, "Trusting a socket").
 * Input: a path. Output: nothing, or AgentError UNTRUSTED, UNAVAILABLE or DENIED.
 */
import { lstatSync } from 'node:fs';
import { dirname } from 'node:path';
import { AgentError } from './errors.js';

/** What lstat(2) says of a path. */
export interface PathFacts {
  readonly uid: number;
  /** Type and permissions, st_mode. */
  readonly mode: number;
}

export interface SocketPlace {
  readonly socket: PathFacts;
  /** The directory that holds it, and `..` of that one. */
  readonly directory: PathFacts;
  readonly above: PathFacts;
}

export interface TrustedUids {
  /** The requester's effective uid. */
  readonly euid: number;
  /** Others that the program was told to trust. */
  readonly others: readonly number[];
}

const fileType = 0o170000;
const socketType = 0o140000;
const directoryType = 0o040000;
const writableByOthers = 0o022;

/** Throws unless the path is a socket of root, of this user, or of a user that only root could have given the place to. */
export function refuseUntrustedSocket(path: string, trusted: TrustedUids): void {
  const distrust = reasonForDistrust(placeOf(path), trusted);
  if (distrust !== undefined) throw new AgentError('UNTRUSTED', `${path} ${distrust}`);
}

/** Pure; undefined: trusted. */
export function reasonForDistrust(place: SocketPlace, { euid, others }: TrustedUids): string | undefined {
  const { socket, directory, above } = place;
  if ((socket.mode & fileType) !== socketType) return 'is not a socket';
  if (socket.uid === 0 || socket.uid === euid || others.includes(socket.uid)) return undefined;
  const vouched =
    directory.uid === socket.uid &&
    isUnshared(directory) &&
    isUnshared(above) &&
    (above.uid === 0 || above.uid === euid);
  if (vouched) return undefined;
  return `belongs to uid ${socket.uid}, which is neither root, nor this user, nor the agent's; see who made it`;
}

/** A real directory that only its owner can put things into. */
function isUnshared({ mode }: PathFacts): boolean {
  return (mode & fileType) === directoryType && (mode & writableByOthers) === 0;
}

function placeOf(path: string): SocketPlace {
  const directory = dirname(path);
  try {
    // "DIR/.." is resolved by the kernel: the real parent, also where DIR was reached through a link.
    return { socket: lstatSync(path), directory: lstatSync(directory), above: lstatSync(`${directory}/..`) };
  } catch (cause) {
    throw socketError(path, cause);
  }
}

/** What a failed lstat or connect means, and what to do about it. */
export function socketError(path: string, cause: unknown): AgentError {
  const reason = cause instanceof Error && 'code' in cause ? String(cause.code) : String(cause);
  if (reason === 'EACCES' || reason === 'EPERM') {
    return new AgentError('DENIED', `${path}: no permission; add this user to the socket's group`, { cause });
  }
  const remedy = 'start keyagentd, or set KEYAGENT_SOCK to its socket';
  return new AgentError('UNAVAILABLE', `${path}: no agent listens there (${reason}); ${remedy}`, { cause });
}
