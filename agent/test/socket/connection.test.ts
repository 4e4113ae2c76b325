import assert from 'node:assert/strict';
import { once } from 'node:events';
import { mkdtempSync, rmSync } from 'node:fs';
import { connect, createServer, type Server, type Socket } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, test } from 'node:test';
import {
  FrameReader,
  decodeReply,
  encodeNotice,
  encodeRequest,
  errorCode,
  limits,
  type Method,
  type Notice,
  type Reply,
  type Request,
} from '@keyagent/protocol';
import { Connection, type Dispatch } from '@keyagent/agent/socket/connection.js';

const peer = { uid: 33, gid: 33, groups: [], pid: 1 };
const hello: Request = { id: 1, method: 'hello', params: { min: 1, max: 1 } };
const signRequest = (id: number): Request => ({
  id,
  method: 'sign',
  params: { uri: 'pkcs11:object=www', alg: 'ecdsa-sha256', message: Buffer.from('m') },
});

/** The requester's end: frames in, replies out. */
class Requester {
  readonly received: (Reply | Notice)[] = [];
  private readonly reader = new FrameReader(limits.frame);
  private wake: () => void = () => undefined;
  closed = false;

  constructor(readonly socket: Socket) {
    socket.on('data', (chunk: Buffer) => {
      for (const body of this.reader.push(chunk)) this.received.push(decodeReply(body, (id) => methodOf(id)));
      this.wake();
    });
    socket.on('close', () => {
      this.closed = true;
      this.wake();
    });
    socket.on('error', () => undefined);
  }

  async until(done: () => boolean): Promise<void> {
    while (!done()) await new Promise<void>((resolve) => (this.wake = resolve));
  }

  async replies(count: number): Promise<Reply[]> {
    await this.until(() => this.received.length >= count || this.closed);
    return this.received as Reply[];
  }
}

const methodOf = (id: number): Method => (id === 1 ? 'hello' : 'sign');

let directory: string;
let server: Server;
let dispatch: Dispatch;
let stallMs: number;
let connections: Connection[];

beforeEach(async () => {
  directory = mkdtempSync(join(tmpdir(), 'keyagent-connection-'));
  connections = [];
  dispatch = () => Promise.resolve({ signature: Buffer.from('s') });
  stallMs = 60_000;
  server = createServer((socket) => {
    connections.push(
      new Connection(socket, peer, {
        face: 'client',
        dispatch: (...request) => dispatch(...request),
        agent: 'keyagent test',
        get stallMs() {
          return stallMs;
        },
        onDefect: () => undefined,
      }),
    );
  });
  server.listen(join(directory, 's'));
  await once(server, 'listening');
});

afterEach(() => {
  for (const connection of connections) connection.end();
  server.close();
  rmSync(directory, { recursive: true });
});

async function requester(...first: Request[]): Promise<Requester> {
  const socket = connect(join(directory, 's'));
  await once(socket, 'connect');
  const made = new Requester(socket);
  for (const request of first) socket.write(encodeRequest(request));
  return made;
}

function errorOf(reply: Reply | undefined): string | undefined {
  return reply !== undefined && 'error' in reply ? errorCode(reply.error.code) : undefined;
}

test('hello and requests pipelined in one write are all answered', async () => {
  const asker = await requester(hello, signRequest(2), signRequest(3));
  const replies = await asker.replies(3);
  assert.deepEqual(replies.map(({ id }) => id).sort(), [1, 2, 3]);
  assert.ok(replies.every((reply) => 'result' in reply));
  asker.socket.destroy();
});

test('a request before hello ends the connection with one error', async () => {
  const asker = await requester(signRequest(2));
  await asker.until(() => asker.closed);
  assert.equal(asker.received.length, 1);
  assert.equal(errorOf(asker.received[0] as Reply), 'MALFORMED');
});

test('no common version ends the connection with UNSUPPORTED', async () => {
  const asker = await requester({ id: 1, method: 'hello', params: { min: 7, max: 9 } });
  await asker.until(() => asker.closed);
  assert.equal(errorOf(asker.received[0] as Reply), 'UNSUPPORTED');
});

test('an id that is in flight already ends the connection', async () => {
  dispatch = () => new Promise(() => undefined);
  const asker = await requester(hello, signRequest(2), signRequest(2));
  await asker.until(() => asker.closed);
  assert.equal(errorOf(asker.received[1] as Reply), 'MALFORMED');
});

test('a frame that claims 4 GiB is refused before any of it is read', async () => {
  const asker = await requester(hello);
  asker.socket.write(Buffer.from('ffffffff', 'hex'));
  await asker.until(() => asker.closed);
  assert.equal(errorOf(asker.received.at(-1) as Reply), 'TOO_LARGE');
});

test('cancel ends the request that it names and no other', async () => {
  const fired: number[] = [];
  dispatch = (request, _peer, cancellation) =>
    new Promise((_resolve, reject) => {
      cancellation.onCancel((reason) => {
        fired.push(request.id);
        reject(reason);
      });
    });
  const asker = await requester(hello, signRequest(2), signRequest(3));
  asker.socket.write(encodeNotice({ method: 'cancel', params: { id: 3 } }));
  const replies = await asker.replies(2);
  assert.deepEqual(fired, [3]);
  assert.equal(errorOf(replies[1]), 'CANCELLED');
  asker.socket.destroy();
});

test('a peer that disconnects cancels what it asked for', async () => {
  const cancelled = new Promise<Error>((resolve) => {
    dispatch = (_request, _peer, cancellation) => {
      cancellation.onCancel(resolve);
      return new Promise(() => undefined);
    };
  });
  const asker = await requester(hello, signRequest(2));
  await asker.replies(1);
  asker.socket.destroy();
  assert.match(String(await cancelled), /the requester disconnected/);
});

test('more requests than may be in flight wait instead of failing', async () => {
  let running = 0;
  let most = 0;
  dispatch = async () => {
    most = Math.max(most, ++running);
    await new Promise(setImmediate);
    running--;
    return { signature: Buffer.from('s') };
  };
  const count = limits.inFlight * 3;
  const asker = await requester(hello, ...Array.from({ length: count }, (_, i) => signRequest(i + 2)));
  const replies = await asker.replies(count + 1);
  assert.equal(replies.length, count + 1);
  assert.equal(most, limits.inFlight);
  asker.socket.destroy();
});

test('a connection that never says hello is closed', async () => {
  stallMs = 200;
  const asker = await requester();
  await asker.until(() => asker.closed);
  assert.equal(asker.received.length, 0);
});

test('a peer that never reads is closed and costs a bounded queue', async () => {
  dispatch = () => Promise.resolve({ signature: Buffer.alloc(limits.signature) });
  const asker = await requester(hello);
  await asker.replies(1);
  stallMs = 200;
  asker.socket.pause();
  const flood = Buffer.concat(Array.from({ length: 20_000 }, (_, i) => encodeRequest(signRequest(i + 2))));
  asker.socket.write(flood);
  const served = connections[0] as Connection;
  const ended = new Promise<void>((resolve) =>
    asker.socket
      .once('error', () => {
        resolve();
      })
      .once('close', () => {
        resolve();
      }),
  );
  await ended;
  assert.ok(served.requests < 20_000);
});

test('a defect is answered with INTERNAL and tells nothing', async () => {
  dispatch = () => Promise.reject(new Error('the secret detail'));
  const asker = await requester(hello, signRequest(2));
  const reply = (await asker.replies(2))[1];
  assert.equal(errorOf(reply), 'INTERNAL');
  assert.ok(reply !== undefined && 'error' in reply && !reply.error.message.includes('secret'));
  asker.socket.destroy();
});
