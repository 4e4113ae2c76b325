/**
 * Opens the listening sockets: bound here, or inherited from systemd. A live agent's socket is never taken, a dead
 * one's is replaced; no mode is ever wider than configured, not even between bind and chmod.
 */
import { chmodSync, chownSync, lstatSync, mkdirSync, renameSync, rmSync, statSync } from 'node:fs';
import { connect, createServer, type Server, type Socket } from 'node:net';
import { dirname } from 'node:path';
import { AgentError } from '@keyagent/protocol';

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

export async function bindSocket(
  address: ListenAddress,
  accept: (socket: Socket) => void,
): Promise<Listener> {
  prepareDirectory(address);
  await refuseLiveSocket(address.path);
  const server = newServer(accept);
  // Bound under a name of our own and renamed when its mode is right: nobody meets a half-made socket.
  const temporary = `${address.path}.${String(process.pid)}`;
  rmSync(temporary, { force: true });
  const before = process.umask(0o177);
  try {
    await listening(server, { path: temporary });
  } finally {
    process.umask(before);
  }
  if (address.gid !== undefined) chownSync(temporary, -1, address.gid);
  chmodSync(temporary, address.mode);
  renameSync(temporary, address.path);
  const { ino } = statSync(address.path);
  return {
    server,
    close(): void {
      if (inodeAt(address.path) === ino) rmSync(address.path, { force: true });
      server.close();
    },
  };
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

function prepareDirectory({ path, gid }: ListenAddress): void {
  const directory = dirname(path);
  const made = mkdirSync(directory, { recursive: true, mode: 0o750 });
  if (made !== undefined && gid !== undefined) chownSync(directory, -1, gid);
  const stat = lstatSync(directory);
  if (!stat.isDirectory()) throw new AgentError('CONFIGURATION', `${directory} is not a directory`);
  const trusted = stat.uid === 0 || stat.uid === process.geteuid?.();
  if (!trusted || (stat.mode & 0o022) !== 0) {
    throw new AgentError(
      'CONFIGURATION',
      `${directory} must belong to root or the agent's user and be writable by nobody else: others could swap the socket`,
    );
  }
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
  if (await answers(path)) {
    throw new AgentError(
      'CONFIGURATION',
      `an agent already listens on ${path}; stop it first (keyagent stop)`,
    );
  }
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
