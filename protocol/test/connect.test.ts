import assert from 'node:assert/strict';
import { chmodSync, mkdtempSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { createServer, type Server, type Socket } from 'node:net';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { test, type TestContext } from 'node:test';
import {
  connectCaller,
  decodeIncoming,
  encodeReply,
  FrameReader,
  isRequest,
  limits,
  type Reply,
} from '@keyagent/protocol';

function folder(t: TestContext): string {
  const path = mkdtempSync(join(tmpdir(), 'keyagent-connect-'));
  t.after(() => rmSync(path, { recursive: true }));
  return path;
}

/** A listener that answers the first request with what `answer` makes of it. */
async function listen(
  t: TestContext,
  answer: (id: number, params: object) => Reply | undefined,
): Promise<string> {
  const path = join(folder(t), 'agent.sock');
  const sockets: Socket[] = [];
  const server: Server = createServer((socket) => {
    sockets.push(socket);
    const reader = new FrameReader(limits.frame);
    socket.on('error', () => undefined);
    socket.on('data', (chunk) => {
      for (const body of reader.push(chunk)) {
        const request = decodeIncoming(body, 'client');
        if (!isRequest(request)) continue;
        const reply = answer(request.id, request.params);
        if (reply !== undefined) socket.write(encodeReply(request.method, reply));
      }
    });
  });
  await new Promise<void>((resolve) => server.listen(path, resolve));
  t.after(() => {
    for (const socket of sockets) socket.destroy();
    server.close();
  });
  return path;
}

const welcome = { version: 1, agent: 'test', max_frame: 16384, max_message: 8192, max_in_flight: 64 };

test('connectCaller says hello and gives a caller that is ready', async (t) => {
  const seen: object[] = [];
  const path = await listen(t, (id, params) => {
    seen.push(params);
    return { id, result: welcome };
  });
  const caller = await connectCaller(path, { name: 'a program', notify: true });
  assert.deepEqual(seen, [{ min: 1, max: 1, name: 'a program', notify: true }]);
  assert(!caller.closed);
  caller.close();
});

test('connectCaller rejects with what the agent answers to hello', async (t) => {
  const path = await listen(t, (id) => ({ id, error: { code: 2, message: 'versions 2 to 3' } }));
  await assert.rejects(connectCaller(path), { code: 'UNSUPPORTED', message: 'versions 2 to 3' });
});

test('connectCaller gives up on a listener that never answers', async (t) => {
  const path = await listen(t, () => undefined);
  await assert.rejects(connectCaller(path, { timeoutMs: 20 }), { code: 'TIMEOUT' });
});

test('connectCaller says what to do if there is no socket', async (t) => {
  const path = join(folder(t), 'agent.sock');
  await assert.rejects(connectCaller(path), {
    code: 'UNAVAILABLE',
    message: /agent\.sock: no agent listens there.*start keyagentd/,
  });
});

test('connectCaller says the same of a socket that nobody listens on any more', async (t) => {
  const path = await listen(t, () => undefined);
  const abandoned = `${path}.old`;
  const server = createServer();
  await new Promise<void>((resolve) => server.listen(abandoned, resolve));
  // Closing removes the path that it listened on, so the socket moves away first.
  renameSync(abandoned, `${path}.abandoned`);
  await new Promise((resolve) => server.close(resolve));
  await assert.rejects(connectCaller(`${path}.abandoned`), { code: 'UNAVAILABLE', message: /ECONNREFUSED/ });
});

test('connectCaller sends nothing to what is not a socket', async (t) => {
  const path = join(folder(t), 'agent.sock');
  writeFileSync(path, '');
  await assert.rejects(connectCaller(path), { code: 'UNTRUSTED' });
});

test('connectCaller says DENIED where permissions forbid it', async (t) => {
  const path = await listen(t, (id) => ({ id, result: welcome }));
  chmodSync(path, 0);
  chmodSync(dirname(path), 0o755);
  // Root may connect anywhere, so it is somebody else for a moment.
  const isRoot = process.geteuid?.() === 0;
  if (isRoot) process.seteuid?.(65534);
  try {
    await assert.rejects(connectCaller(path), { code: 'DENIED', message: /group/ });
  } finally {
    if (isRoot) process.seteuid?.(0);
  }
});
