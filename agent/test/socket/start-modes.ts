/** Binds a socket again and again while another process looks at it all the time, and tells which modes that saw. */
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { text } from 'node:stream/consumers';
import { fileURLToPath } from 'node:url';
import { bindSocket } from '@keyagent/agent/socket/listen.js';

export interface Seen {
  /** How often a socket was there when the watcher looked, by its mode in octal. */
  readonly modes: Readonly<Record<string, number>>;
}

const watcher = fileURLToPath(new URL('mode-watcher.js', import.meta.url));

/** @param mode that the sockets are to have */
export async function watchStarts(starts: number, mode: number): Promise<Seen> {
  const folder = mkdtempSync(path.join(tmpdir(), 'keyagent-modes-'));
  const stop = path.join(folder, 'stop');
  const socket = path.join(folder, 's');
  const child = spawn(process.execPath, [watcher, socket, stop], { stdio: ['ignore', 'pipe', 'inherit'] });
  try {
    await once(child.stdout, 'readable');
    for (let i = 0; i < starts; i++) {
      const listener = await bindSocket({ path: socket, mode, gid: undefined }, () => undefined);
      listener.close();
    }
    writeFileSync(stop, '');
    return JSON.parse((await text(child.stdout)).replace('watching\n', '')) as Seen;
  } finally {
    child.kill();
    rmSync(folder, { recursive: true });
  }
}
