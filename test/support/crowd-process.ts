/**
 * Many connections that do nothing good, held by a process of any user. Prints a line when it has them, and one for each
 * that it is told on standard input; closes them when that ends.
 *   slowly   sends a byte on each of them twice a second, until the next line
 *   byte     sends one on each
 *   rest     sends nothing
 */
import { once } from 'node:events';
import { connect, type Socket } from 'node:net';
import { createInterface } from 'node:readline';
import { setImmediate } from 'node:timers/promises';
import type { CrowdSpec } from './crowd.js';

const spec = JSON.parse(process.argv[2] ?? '') as CrowdSpec;

/** Tries again while the agent has not accepted those before; one that the agent ends counts as opened. */
async function open(): Promise<Socket> {
  for (;;) {
    const socket = connect(spec.socket);
    try {
      await once(socket, 'connect');
      // The agent may end it at any time.
      socket.on('error', () => undefined);
      if (spec.first !== undefined) socket.write(Buffer.from(spec.first, 'hex'));
      return socket;
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code !== 'EAGAIN') throw error;
      await setImmediate();
    }
  }
}

process.setgroups?.(spec.identity.groups);
process.setgid?.(spec.identity.gid);
process.setuid?.(spec.identity.uid);
const sockets: Socket[] = [];
while (sockets.length < spec.connections) sockets.push(await open());
process.stdout.write('open\n');
// One byte after another of a request that never ends.
const drip = (): void => {
  for (const socket of sockets) if (socket.writable) socket.write(Buffer.of(0x90));
};
let timer: NodeJS.Timeout | undefined;
for await (const line of createInterface({ input: process.stdin })) {
  clearInterval(timer);
  if (line === 'slowly') timer = setInterval(drip, 500);
  if (line === 'byte') drip();
  process.stdout.write(`${line}\n`);
}
clearInterval(timer);
for (const socket of sockets) socket.destroy();
