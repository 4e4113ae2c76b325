/** The host's end of the channel: what leaves when. */
import assert from 'node:assert/strict';
import { once } from 'node:events';
import { Duplex } from 'node:stream';
import { test } from 'node:test';
import { Packr } from 'msgpackr';
import { encodeFrame } from '@keyagent/protocol';
import { Channel, type Operations } from '@keyagent/agent/host/channel.js';

test('an operation that runs on this thread is answered before the next one begins', async () => {
  const packr = new Packr({ useRecords: false });
  const happened: string[] = [];
  const stream = new Duplex({
    read: () => undefined,
    write: (_chunk, _encoding, done) => {
      happened.push('answer');
      done();
      if (happened.length === 6) stream.emit('done');
    },
  });
  const token = async (): Promise<never> => {
    // As an operation that takes a session does, it gives way before it is at work.
    await Promise.resolve();
    happened.push('operation');
    return {} as never;
  };
  new Channel(stream, { token } as unknown as Operations);
  const request = encodeFrame(packr.pack([1, 'token', {}]));
  stream.push(Buffer.concat([request, request, request]));
  await once(stream, 'done');
  assert.deepEqual(happened, ['operation', 'answer', 'operation', 'answer', 'operation', 'answer']);
});
