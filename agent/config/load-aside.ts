/**
 * Reads the configuration in a process of its own. Users and groups may be looked up in a directory far away, and the way to
 * a module may lead through a mount whose server is gone: no signature is to wait for that, nor the end of the agent.
 */
import { fork } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import type { Loaded } from './load.js';

const program = fileURLToPath(new URL('./load-process.js', import.meta.url));

/**
 * @param file      as configFile() found it
 * @param withinMs  then that is its refusal
 */
export function loadAside(file: string, withinMs = 60_000): Promise<Loaded> {
  return new Promise((resolve, reject) => {
    const reader = fork(program, [file], {
      serialization: 'advanced',
      timeout: withinMs,
      killSignal: 'SIGKILL',
    });
    let loaded: Loaded | undefined;
    reader.once('message', (message) => {
      loaded = message as unknown as Loaded;
    });
    reader.once('error', reject);
    reader.once('close', (code, signal) => {
      const late = `${file}: not read within ${withinMs / 1000} s: a directory of users, or a mount on the way to a module, does not answer`;
      if (loaded !== undefined) resolve(loaded);
      else if (reader.killed) resolve({ hash: undefined, refusal: late });
      else reject(new Error(`the configuration was not read: exit status ${code ?? String(signal)}`));
    });
  });
}
