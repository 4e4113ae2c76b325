/** Connects to an agent's Unix socket, if it can be trusted, and says hello. Input: a path. Output: a Caller that is ready. */
import { createConnection, type Socket } from 'node:net';
import { Caller } from './caller.js';
import { AgentError } from './errors.js';
import { refuseUntrustedSocket, socketError } from './trust.js';

export interface ConnectOptions {
  /** Program name for the agent's list of sessions. */
  name?: string;
  /** Ask for `state` and `rotated` notifications. */
  notify?: boolean;
  /** For connecting and hello together; 10 seconds if absent. */
  timeoutMs?: number;
  /** Gives up; it does not concern the Caller that was made. */
  signal?: AbortSignal;
  /** Owners of the socket that are trusted besides root, this user and the agent's own user in its own directory. */
  trustedUids?: readonly number[];
}

/**
 * @throws AgentError UNAVAILABLE (nothing listens), UNTRUSTED (somebody else's socket), DENIED (its permissions), TIMEOUT,
 *         CANCELLED, UNSUPPORTED (no common version)
 */
export async function connectCaller(path: string, options: ConnectOptions = {}): Promise<Caller> {
  const { timeoutMs = 10_000, trustedUids = [], signal, ...about } = options;
  const startedAt = performance.now();
  refuseUntrustedSocket(path, { euid: process.geteuid?.() ?? 0, others: trustedUids });
  const caller = new Caller(await openSocket(path, timeoutMs));
  try {
    const remainingMs = Math.max(1, timeoutMs - (performance.now() - startedAt));
    await caller.hello(about, { timeoutMs: remainingMs, ...(signal === undefined ? {} : { signal }) });
    return caller;
  } catch (error) {
    caller.close();
    throw error;
  }
}

function openSocket(path: string, timeoutMs: number): Promise<Socket> {
  return new Promise((resolve, reject) => {
    const socket = createConnection({ path });
    const timer = setTimeout(
      () => socket.destroy(new AgentError('TIMEOUT', `${path}: no connection`)),
      timeoutMs,
    );
    const onError = (error: Error): void => {
      clearTimeout(timer);
      reject(error instanceof AgentError ? error : socketError(path, error));
    };
    socket.once('error', onError);
    socket.once('connect', () => {
      clearTimeout(timer);
      socket.off('error', onError);
      resolve(socket);
    });
  });
}
