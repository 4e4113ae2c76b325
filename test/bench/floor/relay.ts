/** Passes requests on to token.ts and its replies back, unread; what comes before the first signature it answers itself. */
import { spawn } from 'node:child_process';
import { createServer, type Socket } from 'node:net';
import type { Duplex } from 'node:stream';
import { fileURLToPath } from 'node:url';
import { FrameReader, connectCaller, decodeIncoming, encodeReply, limits } from '@keyagent/protocol';
import type { RelayTask } from './floor.js';

const { socket, agent, uri, token } = JSON.parse(process.argv[2] ?? '') as RelayTask;
const caller = await connectCaller(agent);
const key = await caller.call('key', { uri });
caller.close();
const hello = {
  version: 1,
  agent: 'floor',
  max_frame: limits.frame,
  max_message: limits.message,
  max_in_flight: limits.inFlight,
};

const child = spawn(
  process.execPath,
  [fileURLToPath(new URL('./token.js', import.meta.url)), JSON.stringify(token)],
  { stdio: ['inherit', 'inherit', 'inherit', 'pipe'] },
);
child.once('exit', () => process.exit(1));
const channel = child.stdio[3] as Duplex;
const clients: Socket[] = [];
let corked = false;
const replies = new FrameReader(limits.frame + 8);
channel.on('data', (chunk: Buffer) => {
  for (const body of replies.push(chunk)) clients[body.readUInt32BE(0)]?.write(body.subarray(4));
});

createServer((client) => {
  const number = clients.push(client) - 1;
  const requests = new FrameReader(limits.frame);
  let signs = false;
  client.on('error', () => undefined);
  client.on('data', (chunk: Buffer) => {
    for (const body of requests.push(chunk)) {
      signs ||= !answer(client, body);
      if (signs) pass(number, body);
    }
  });
}).listen(socket, () => process.stdout.write('listening\n'));

/** hello, and what is said of the key. @returns false: it is neither, and from now on all are signatures */
function answer(client: Socket, body: Buffer): boolean {
  const incoming = decodeIncoming(body, 'client');
  if (!('id' in incoming)) return false;
  const { id, method } = incoming;
  if (method === 'hello') client.write(encodeReply('hello', { id, result: hello }));
  else if (method === 'key') client.write(encodeReply('key', { id, result: key }));
  else return false;
  return true;
}

function pass(number: number, body: Buffer): void {
  const frame = Buffer.allocUnsafe(8 + body.length);
  frame.writeUInt32BE(4 + body.length, 0);
  frame.writeUInt32BE(number, 4);
  frame.set(body, 8);
  if (!corked) {
    // All that one turn of the event loop reads leaves in one write, as in the agent.
    corked = true;
    channel.cork();
    setImmediate(() => {
      corked = false;
      channel.uncork();
    });
  }
  channel.write(frame);
}
