/**
 * Reads the configuration in a thread of its own. Users and groups may be looked up in a directory far away, and no
 * signature is to wait for it.
 */
import { once } from 'node:events';
import { Worker } from 'node:worker_threads';
import type { Loaded } from './load.js';

/** @param file as configFile() found it */
export async function loadAside(file: string): Promise<Loaded> {
  const worker = new Worker(new URL('./load-worker.js', import.meta.url), { workerData: file });
  const [loaded] = (await once(worker, 'message')) as [Loaded];
  await worker.terminate();
  return loaded;
}
