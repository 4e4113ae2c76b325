/**
 * Runs one keyring operation in a short-lived child process (keyring-child.ts) under a deadline.
 * The PIN goes through pipes as bytes, never through argv or the environment.
 */
import { spawn, type ChildProcessByStdio } from 'node:child_process';
import { existsSync } from 'node:fs';
import path from 'node:path';
import type { Readable, Writable } from 'node:stream';
import { fileURLToPath } from 'node:url';
import { AgentError } from '@keyagent/protocol';
import { keyringExit } from './keyring-exit.js';
import { pinLineMax } from './pin-line.js';

export interface KeyringItem {
  service: string;
  account: string;
}

export interface KeyringWait {
  signal?: AbortSignal;
  /** A locked keyring may ask its owner for a password meanwhile. */
  timeoutMs: number;
}

type Child = ChildProcessByStdio<Writable, Readable, Readable>;

const childFile = fileURLToPath(new URL('./keyring-child.js', import.meta.url));
const messageMax = 1024;

/**
 * @param input  for set: the PIN, which stays the caller's to wipe
 * @returns what the child wrote (the caller wipes it); undefined when the keyring shows no such item
 * @throws AgentError SOURCE_FAILED, also when the deadline or the caller's signal ended the wait
 */
export async function runKeyringChild(
  operation: 'get' | 'set' | 'delete',
  item: KeyringItem,
  wait: KeyringWait,
  input?: Uint8Array,
): Promise<Buffer | undefined> {
  refuseWithoutBus();
  if (wait.signal?.aborted) throw tooLate(wait.signal.reason);
  const child = spawn(process.execPath, [childFile, operation, item.service, item.account], {
    stdio: ['pipe', 'pipe', 'pipe'],
    env: childEnv(),
  });
  const output = collect(child.stdout, pinLineMax);
  const complaint = collect(child.stderr, messageMax);
  // A child that ends early closes its end; its exit status says why.
  child.stdin.on('error', () => undefined);
  child.stdin.end(input);
  try {
    const status = await exitStatus(child, wait);
    if (status === keyringExit.done) return Buffer.from(output.bytes());
    if (status === keyringExit.none) return undefined;
    throw failed(
      `the keyring failed: ${firstLine(complaint.bytes())}; check that a Secret Service (such as gnome-keyring) runs in this session`,
    );
  } finally {
    output.wipe();
  }
}

/** GLib would otherwise try to start a bus through X11 and fail with a message about that. */
function refuseWithoutBus(): void {
  const { DBUS_SESSION_BUS_ADDRESS, XDG_RUNTIME_DIR } = process.env;
  if (DBUS_SESSION_BUS_ADDRESS) return;
  if (XDG_RUNTIME_DIR && existsSync(path.join(XDG_RUNTIME_DIR, 'bus'))) return;
  throw failed(
    'there is no D-Bus session here, so no keyring; use it from a login session, or set DBUS_SESSION_BUS_ADDRESS',
  );
}

/** What the session bus and a prompter need; no locale, so that messages are in English; no credentials, no NODE_OPTIONS. */
const passedOn = [
  'DBUS_SESSION_BUS_ADDRESS',
  'XDG_RUNTIME_DIR',
  'HOME',
  'DISPLAY',
  'WAYLAND_DISPLAY',
  'XAUTHORITY',
];

function childEnv(): NodeJS.ProcessEnv {
  return Object.fromEntries(Object.entries(process.env).filter(([name]) => passedOn.includes(name)));
}

/** Resolves when the child has ended and its pipes are drained; kills it at the deadline or on abort. */
function exitStatus(child: Child, { signal, timeoutMs }: KeyringWait): Promise<number | null> {
  return new Promise((resolve, reject) => {
    let ending: AgentError | undefined;
    const end = (error: AgentError): void => {
      ending ??= error;
      child.kill('SIGKILL');
    };
    const timer = setTimeout(() => end(tooLate()), timeoutMs);
    const onAbort = (): void => end(tooLate(signal?.reason));
    signal?.addEventListener('abort', onAbort, { once: true });
    child.once('error', (cause) => {
      ending ??= failed(`the keyring process cannot be started (${cause.message})`, cause);
    });
    child.once('close', (status) => {
      clearTimeout(timer);
      signal?.removeEventListener('abort', onAbort);
      if (ending) reject(ending);
      else resolve(status);
    });
  });
}

/** Keeps at most `max` bytes and drains the rest, wiping what it holds when asked to. */
function collect(stream: Readable, max: number): { bytes(): Buffer; wipe(): void } {
  const kept = Buffer.alloc(max);
  let length = 0;
  stream.on('data', (chunk: Buffer) => {
    length += chunk.copy(kept, length);
    chunk.fill(0);
  });
  return { bytes: () => kept.subarray(0, length), wipe: () => kept.fill(0) };
}

function firstLine(bytes: Buffer): string {
  const [line = ''] = bytes.toString('utf8').split('\n', 1);
  return line === '' ? 'it gave no reason' : line;
}

function tooLate(cause?: unknown): AgentError {
  return failed(
    'the keyring did not answer in time; it may be waiting for its password: unlock it first',
    cause,
  );
}

function failed(message: string, cause?: unknown): AgentError {
  return new AgentError('SOURCE_FAILED', message, { cause });
}
