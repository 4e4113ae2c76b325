/** A process that binds the socket of its argument when it is told to, and says what came of it: what an agent does at start. */
import { createInterface } from 'node:readline';
import { bindSocket, type Listener } from '@keyagent/agent/socket/listen.js';

const path = process.argv[2] ?? '';
let listener: Listener | undefined;

async function bind(): Promise<string> {
  try {
    listener = await bindSocket({ path, mode: 0o660, gid: undefined }, (socket) => socket.destroy());
    return 'bound';
  } catch (error) {
    return (error as Error).message;
  }
}

function close(): string {
  listener?.close();
  return 'closed';
}

process.stdout.write('ready\n');
for await (const line of createInterface({ input: process.stdin })) {
  process.stdout.write(`${line === 'bind' ? await bind() : close()}\n`);
}
