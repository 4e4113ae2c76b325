/** TCP ports on 127.0.0.1. */
import { randomInt } from 'node:crypto';
import { createSocket } from 'node:dgram';
import { once } from 'node:events';
import { connect, createServer } from 'node:net';

/** Below those that the kernel gives to clients and to who asks for any: only a test takes one of these. */
const range = { first: 10_240, afterLast: 32_768 };

/** One that is free, and that no test gets a second time while this process lives. */
export async function freePort(): Promise<number> {
  for (let tries = 0; tries < 100; tries++) {
    const port = randomInt(range.first, range.afterLast);
    if ((await reserve(port)) && (await isFree(port))) return port;
  }
  throw new Error('no TCP port is free on 127.0.0.1');
}

/** Tests run in several processes: who has the UDP port of the same number has the TCP port. */
async function reserve(port: number): Promise<boolean> {
  const token = createSocket('udp4').unref();
  try {
    token.bind(port, '127.0.0.1');
    await once(token, 'listening');
    return true;
  } catch (error) {
    token.close();
    return refuseInUse(error);
  }
}

async function isFree(port: number): Promise<boolean> {
  const server = createServer().listen(port, '127.0.0.1');
  try {
    await once(server, 'listening');
  } catch (error) {
    return refuseInUse(error);
  }
  server.close();
  await once(server, 'close');
  return true;
}

function refuseInUse(error: unknown): false {
  if (error instanceof Error && 'code' in error && error.code === 'EADDRINUSE') return false;
  throw error;
}

export function acceptsTcp(port: number): Promise<boolean> {
  return new Promise((resolve) => {
    const socket = connect(port, '127.0.0.1');
    socket.once('connect', () => {
      socket.destroy();
      resolve(true);
    });
    socket.once('error', () => {
      resolve(false);
    });
  });
}
