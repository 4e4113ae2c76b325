/** Runs one keyring operation in a short-lived child process (keyring-child.ts) under a deadline. */
import { existsSync } from 'node:fs';
import path from 'node:path';
import { fileURLToPath } from 'node:url';
import { AgentError } from '@keyagent/protocol';
import { keyringExit } from './keyring-exit.js';
import { runSecretChild } from './secret-child.js';

export interface KeyringItem {
  service: string;
  account: string;
}

export interface KeyringWait {
  signal?: AbortSignal;
  /** A locked keyring may ask its owner for a password meanwhile. */
  timeoutMs: number;
}

const childFile = fileURLToPath(new URL('./keyring-child.js', import.meta.url));

/**
 * @param input  for set: the PIN, which stays the caller's to wipe
 * @returns what the child wrote (the caller wipes it); undefined when the keyring holds no such item
 * @throws AgentError SOURCE_FAILED, also when the deadline or the caller's signal ended the wait
 */
export async function runKeyringChild(
  operation: 'get' | 'set' | 'delete',
  { service, account }: KeyringItem,
  wait: KeyringWait,
  input?: Uint8Array,
): Promise<Buffer | undefined> {
  refuseWithoutBus();
  const args = [childFile, operation, service, account];
  const ending = await runSecretChild({ command: process.execPath, args, env: childEnv(), input }, wait);
  switch (ending.how) {
    case 'not-started':
      throw failed(`the keyring process cannot be started (${ending.cause.message})`, ending.cause);
    case 'stopped':
      throw failed(
        'the keyring did not answer in time; it may be waiting for its password: unlock it first',
        ending.cause,
      );
    case 'ended':
      if (ending.status === keyringExit.done) return ending.output;
      if (ending.status === keyringExit.none) return undefined;
      throw failed(whyFailed(ending.status, `${service}/${account}`, ending.complaint[0]));
  }
}

function whyFailed(status: number | null, item: string, complaint = 'it gave no reason'): string {
  if (status === keyringExit.locked) {
    return `the keyring item ${item} is in a locked collection; unlock the keyring`;
  }
  if (status === keyringExit.hidden) {
    return `the keyring shows no item ${item}: it is missing or its collection is locked`;
  }
  return `the keyring failed: ${complaint}; check that a Secret Service (such as gnome-keyring) runs in this session`;
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

function failed(message: string, cause?: unknown): AgentError {
  return new AgentError('SOURCE_FAILED', message, { cause });
}
