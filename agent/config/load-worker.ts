/** The thread of load-aside.ts. Input: the file's name; output: one message. */
import { parentPort, workerData } from 'node:worker_threads';
import { tryLoad } from './load.js';

parentPort?.postMessage(tryLoad(workerData as string));
