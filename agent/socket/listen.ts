/**
 * Opens the listening sockets: bound here, or inherited from systemd. A live agent's socket is never taken, a dead
 * one's is replaced; no mode is ever wider than configured, not even between bind and chmod.
 */
import { chmodSync, chownSync, closeSync, lstatSync, renameSync, rmSync, statSync } from 'node:fs';
import { connect, createServer, type Server, type Socket } from 'node:net';
import { dirname } from 'node:path';
import { AgentError } from '@keyagent/protocol';
import { native } from '../native/index.js';
import { prepareDirectory } from './directory.js';

export interface ListenAddress {
  readonly path: string;
  /** Permission bits. */
  readonly mode: number;
  readonly gid: number | undefined;
}

/** A listening server and how to take it down without touching anybody else's socket. */
export interface Listener {
  readonly server: Server;
  /** Stops accepting and removes the socket file if it is still ours. Inherited sockets stay with systemd. */
  close(): void;
}

/** Open connections that one listener holds at most. */
const maxConnections = 8192;

/**
 * @param all   every address of the agent: a directory that is made is for the group of the sockets in it, or for
 *              everybody where they are for several
 * @throws AgentError CONFIGURATION
 */
export async function bindSocket(
  address: ListenAddress,
  accept: (socket: Socket) => void,
  all: readonly ListenAddress[] = [address],
): Promise<Listener> {
  let release = (): void => undefined;
  try {
    const directory = dirname(address.path);
    const isShared = all.some(
      ({ path, mode, gid }) => dirname(path) === directory && (mode & 0o060) !== 0 && gid !== address.gid,
    );
    prepareDirectory(directory, address.gid, isShared ? 'everybody' : 'group');
    release = holdPath(address.path);
    await refuseLiveSocket(address.path);
    const server = newServer(accept);
    const ino = await bind(server, address).catch((error: unknown) => {
      server.close();
      throw error;
    });
    return {
      server,
      close(): void {
        if (inodeAt(address.path) === ino) rmSync(address.path, { force: true });
        server.close();
        release();
      },
    };
  } catch (error) {
    release();
    throw error instanceof AgentError ? error : cannotBind(address.path, error as Error);
  }
}

function cannotBind(path: string, cause: Error): AgentError {
  return new AgentError(
    'CONFIGURATION',
    `the socket ${path} cannot be made: ${cause.message}; its directory must be writable to the agent's user and its group one of that user's, or let systemd make it (a further socket unit)`,
    { cause },
  );
}

/**
 * Keeps the path from every other agent as long as this one lives, however it ends: two that start at once would each
 * find no live socket. The file stays: whoever removes one may remove another's.
 * @returns gives it back
 */
function holdPath(path: string): () => void {
  let fd: number | undefined;
  try {
    fd = native.lockFile(`${path}.lock`);
  } catch (cause) {
    if ((cause as NodeJS.ErrnoException).code === 'EAGAIN') throw taken(path);
    const { message } = cause as Error;
    throw new AgentError('CONFIGURATION', `${path}.lock cannot be used: ${message}`, { cause });
  }
  return () => {
    if (fd !== undefined) closeSync(fd);
    fd = undefined;
  };
}

/** @returns the inode of the socket */
async function bind(server: Server, { path, mode, gid }: ListenAddress): Promise<number> {
  // Bound under a name of our own and renamed when its mode is right: nobody meets a half-made socket.
  const temporary = `${path}.new`;
  rmSync(temporary, { force: true });
  const before = process.umask(0o177);
  try {
    await listening(server, { path: temporary });
  } finally {
    process.umask(before);
  }
  if (gid !== undefined) chownSync(temporary, -1, gid);
  chmodSync(temporary, mode);
  renameSync(temporary, path);
  return statSync(path).ino;
}

export async function inheritSocket(fd: number, accept: (socket: Socket) => void): Promise<Listener> {
  const server = newServer(accept);
  await listening(server, { fd });
  return {
    server,
    close(): void {
      server.close();
    },
  };
}

function newServer(accept: (socket: Socket) => void): Server {
  const server = createServer(accept);
  server.maxConnections = maxConnections;
  return server;
}

function listening(server: Server, options: { path: string } | { fd: number }): Promise<void> {
  return new Promise((resolve, reject) => {
    server.once('error', reject);
    server.listen({ ...options, backlog: 1024 }, () => {
      server.off('error', reject);
      resolve();
    });
  });
}

async function refuseLiveSocket(path: string): Promise<void> {
  const stat = lstatSync(path, { throwIfNoEntry: false });
  if (stat === undefined) return;
  if (!stat.isSocket()) {
    throw new AgentError(
      'CONFIGURATION',
      `${path} exists and is not a socket; move it away or choose another path`,
    );
  }
  if (await answers(path)) throw taken(path);
}

function taken(path: string): AgentError {
  return new AgentError(
    'CONFIGURATION',
    `an agent already listens on ${path}; stop it first (keyagent stop)`,
  );
}

function answers(path: string): Promise<boolean> {
  return new Promise((resolve, reject) => {
    const probe = connect(path);
    probe.once('connect', () => {
      probe.destroy();
      resolve(true);
    });
    probe.once('error', (error: NodeJS.ErrnoException) => {
      if (error.code === 'ECONNREFUSED' || error.code === 'ENOENT') resolve(false);
      else
        reject(new AgentError('CONFIGURATION', `cannot probe ${path}: ${error.message}`, { cause: error }));
    });
  });
}

function inodeAt(path: string): number | undefined {
  return lstatSync(path, { throwIfNoEntry: false })?.ino;
}
