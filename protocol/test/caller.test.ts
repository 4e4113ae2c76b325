import assert from 'node:assert/strict';
import { once } from 'node:events';
import { test } from 'node:test';
import { type AgentError, Caller, encodeReply, limits } from '@keyagent/protocol';
import { Peer } from './peer.js';

const uri = 'pkcs11:object=www';
const signature = Buffer.from('0102', 'hex');
const message = Buffer.from('hello');
const sign = { uri, alg: 'ed25519', message } as const;

function connect(): { caller: Caller; peer: Peer } {
  const peer = new Peer();
  return { caller: new Caller(peer.stream), peer };
}

function helloResult(maxInFlight: number): {
  version: number;
  agent: string;
  max_frame: number;
  max_message: number;
  max_in_flight: number;
} {
  return {
    version: 1,
    agent: 'test',
    max_frame: limits.frame,
    max_message: limits.message,
    max_in_flight: maxInFlight,
  };
}

test('a call resolves with the result of its reply', async () => {
  const { caller, peer } = connect();
  const call = caller.call('sign', sign);
  const request = await peer.nextRequest();
  assert.deepEqual(request, { id: 1, method: 'sign', params: sign });
  peer.reply('sign', { id: request.id, result: { signature } });
  assert.deepEqual(await call, { signature });
});

test('replies in another order reach their calls', async () => {
  const { caller, peer } = connect();
  const first = caller.call('sign', sign);
  const second = caller.call('key', { uri });
  const [{ id: one }, { id: two }] = [await peer.nextRequest(), await peer.nextRequest()];
  peer.reply(undefined, { id: two, error: { code: 6, message: 'no key' } });
  await assert.rejects(second, { code: 'NOT_FOUND' });
  peer.reply('sign', { id: one, result: { signature } });
  assert.deepEqual(await first, { signature });
});

test('an error reply rejects with its code, text, candidates and time to retry', async () => {
  const { caller, peer } = connect();
  const call = caller.call('key', { uri });
  const { id } = await peer.nextRequest();
  const error = {
    code: 7,
    message: 'two keys match',
    candidates: [uri, 'pkcs11:object=b'],
    retry_after_ms: 5,
  };
  peer.reply(undefined, { id, error });
  await assert.rejects(call, {
    name: 'AgentError',
    code: 'AMBIGUOUS',
    message: 'two keys match',
    candidates: [uri, 'pkcs11:object=b'],
    retryAfterMs: 5,
  });
});

test('an error number that is not in the table counts as INTERNAL', async () => {
  const { caller, peer } = connect();
  const call = caller.call('key', { uri });
  const { id } = await peer.nextRequest();
  peer.reply(undefined, { id, error: { code: 150, message: 'from later' } });
  await assert.rejects(call, { code: 'INTERNAL', message: 'from later' });
});

test('a call that times out rejects, sends cancel, and its late reply hurts nobody', async () => {
  const { caller, peer } = connect();
  const call = caller.call('sign', sign, { timeoutMs: 10 });
  const { id } = await peer.nextRequest();
  await assert.rejects(call, { code: 'TIMEOUT' });
  assert.deepEqual(await peer.next(), { method: 'cancel', params: { id } });
  peer.reply('sign', { id, result: { signature } });
  const next = caller.call('status', {});
  const request = await peer.nextRequest();
  assert.notEqual(request.id, id);
  peer.reply(undefined, { id: request.id, error: { code: 22, message: 'stopping' } });
  await assert.rejects(next, { code: 'STOPPING' });
});

test('an aborted call rejects with CANCELLED and sends cancel', async () => {
  const { caller, peer } = connect();
  const controller = new AbortController();
  const call = caller.call('sign', sign, { signal: controller.signal });
  const { id } = await peer.nextRequest();
  controller.abort(new Error('the user left'));
  await assert.rejects(call, { code: 'CANCELLED', cause: new Error('the user left') });
  assert.deepEqual(await peer.next(), { method: 'cancel', params: { id } });
});

test('a call with a signal that fired already sends nothing', async () => {
  const { caller, peer } = connect();
  await assert.rejects(caller.call('sign', sign, { signal: AbortSignal.abort() }), { code: 'CANCELLED' });
  const next = caller.call('status', {});
  assert.equal((await peer.nextRequest()).method, 'status');
  caller.close();
  await assert.rejects(next, { code: 'UNAVAILABLE' });
});

test('a signal that outlives its call has no listener left and cancels nothing', async () => {
  const { caller, peer } = connect();
  const controller = new AbortController();
  const call = caller.call('sign', sign, { signal: controller.signal, timeoutMs: 60_000 });
  const { id } = await peer.nextRequest();
  peer.reply('sign', { id, result: { signature } });
  await call;
  controller.abort();
  const next = caller.call('status', {});
  assert.equal((await peer.next()).method, 'status');
  caller.close();
  await assert.rejects(next, { code: 'UNAVAILABLE' });
});

test('the timeout travels as deadline_ms where the method has one, unless the params say otherwise', async () => {
  const { caller, peer } = connect();
  const calls = [
    caller.call('sign', sign, { timeoutMs: 1234.5 }),
    caller.call('sign', { ...sign, deadline_ms: 7 }, { timeoutMs: 1234 }),
    caller.call('key', { uri }, { timeoutMs: 1234 }),
  ];
  const params = [await peer.nextRequest(), await peer.nextRequest(), await peer.nextRequest()].map(
    (request) => request.params,
  );
  assert.deepEqual(params, [{ ...sign, deadline_ms: 1235 }, { ...sign, deadline_ms: 7 }, { uri }]);
  caller.close();
  await Promise.all(calls.map((call) => assert.rejects(call, { code: 'UNAVAILABLE' })));
});

test('calls of one turn leave in one write', async () => {
  const { caller, peer } = connect();
  const calls = [1, 2, 3].map(() => caller.call('sign', sign));
  for (const _call of calls) await peer.nextRequest();
  assert.deepEqual(peer.writes, [3]);
  caller.close();
  await Promise.all(calls.map((call) => assert.rejects(call)));
});

test('calls beyond max_in_flight wait for a reply', async () => {
  const { caller, peer } = connect();
  const hello = caller.hello({ name: 'test' });
  const { id, params } = await peer.nextRequest();
  assert.deepEqual(params, { min: 1, max: 1, name: 'test' });
  peer.reply('hello', { id, result: helloResult(2) });
  await hello;
  const calls = [1, 2, 3].map(() => caller.call('sign', sign));
  const first = await peer.nextRequest();
  await peer.nextRequest();
  assert.equal(peer.unread, 0);
  peer.reply('sign', { id: first.id, result: { signature } });
  await calls[0];
  assert.equal((await peer.nextRequest()).method, 'sign');
  caller.close();
  await Promise.all(calls.slice(1).map((call) => assert.rejects(call, { code: 'UNAVAILABLE' })));
});

test('a call that is given up while it waits is never sent, and not cancelled either', async () => {
  const { caller, peer } = connect();
  const hello = caller.hello({});
  peer.reply('hello', { id: (await peer.nextRequest()).id, result: helloResult(1) });
  await hello;
  const first = caller.call('sign', sign);
  const second = caller.call('key', { uri }, { timeoutMs: 5 });
  const { id } = await peer.nextRequest();
  await assert.rejects(second, { code: 'TIMEOUT' });
  peer.reply('sign', { id, result: { signature } });
  await first;
  const third = caller.call('status', {});
  assert.equal((await peer.next()).method, 'status');
  caller.close();
  await assert.rejects(third);
});

test('hello refuses a version that was not offered', async () => {
  const { caller, peer } = connect();
  const hello = caller.hello({});
  peer.reply('hello', { id: (await peer.nextRequest()).id, result: { ...helloResult(1), version: 2 } });
  await assert.rejects(hello, { code: 'UNSUPPORTED' });
});

test('a lost connection fails every call with UNAVAILABLE, and later calls too', async () => {
  const { caller, peer } = connect();
  const calls = [caller.call('sign', sign), caller.call('status', {})];
  await peer.nextRequest();
  const closed = once(caller, 'close');
  peer.hangUp();
  for (const call of calls) await assert.rejects(call, { code: 'UNAVAILABLE' });
  const [reason] = (await closed) as [AgentError];
  assert.equal(reason.code, 'UNAVAILABLE');
  assert(caller.closed);
  await assert.rejects(caller.call('status', {}), { code: 'UNAVAILABLE' });
});

test('a stream that fails is the cause of UNAVAILABLE', async () => {
  const { caller, peer } = connect();
  const call = caller.call('status', {});
  const failure = new Error('reset');
  peer.stream.destroy(failure);
  await assert.rejects(call, { code: 'UNAVAILABLE', cause: failure });
});

test('close fails what is in flight and tells no reason', async () => {
  const { caller } = connect();
  const call = caller.call('status', {});
  const closed = once(caller, 'close');
  caller.close();
  await assert.rejects(call, { code: 'UNAVAILABLE' });
  assert.deepEqual(await closed, [undefined]);
});

test('an error about the connection ends it with that error', async () => {
  const { caller, peer } = connect();
  const call = caller.call('status', {});
  await peer.nextRequest();
  peer.reply(undefined, { id: 0, error: { code: 4, message: 'too long' } });
  await assert.rejects(call, { code: 'TOO_LARGE', message: 'too long' });
  assert(caller.closed);
});

const breaches: readonly [name: string, bytes: Buffer][] = [
  ['a malformed reply', Buffer.from('0000000190', 'hex')],
  ['a reply to nobody', encodeReply('sign', { id: 99, result: { signature } })],
  ['a result of another method', encodeReply('sign', { id: 1, result: { signature } })],
  ['a frame that is too long', Buffer.from('ffffffff', 'hex')],
];
for (const [name, bytes] of breaches) {
  test(`${name} ends the connection with MALFORMED`, async () => {
    const { caller, peer } = connect();
    const call = caller.call('status', {});
    await peer.nextRequest();
    peer.sendBytes(bytes);
    await assert.rejects(call, { code: 'MALFORMED' });
    assert(caller.closed);
  });
}

test('a second reply to the same request ends the connection', async () => {
  const { caller, peer } = connect();
  const [call, other] = [caller.call('sign', sign), caller.call('status', {})];
  const { id } = await peer.nextRequest();
  const reply = encodeReply('sign', { id, result: { signature } });
  peer.sendBytes(Buffer.concat([reply, reply]));
  assert.deepEqual(await call, { signature });
  await assert.rejects(other, { code: 'MALFORMED' });
});

test('notifications are emitted in order', async () => {
  const { caller, peer } = connect();
  const notice = once(caller, 'notice');
  peer.notify({ method: 'state', params: { token: 'web', state: 'locked' } });
  assert.deepEqual(await notice, [{ method: 'state', params: { token: 'web', state: 'locked' } }]);
  caller.close();
});

test('a parameter over its limit is refused here, and the connection lives on', async () => {
  const { caller, peer } = connect();
  await assert.rejects(caller.call('key', { uri: 'a'.repeat(limits.uri + 1) }), { code: 'TOO_LARGE' });
  const call = caller.call('status', {});
  assert.equal((await peer.nextRequest()).method, 'status');
  caller.close();
  await assert.rejects(call);
});

test('the frame of an unlock is wiped once it is written', async () => {
  const peer = new Peer();
  const caller = new Caller(peer.stream);
  const frames: Buffer[] = [];
  const write = peer.stream.write.bind(peer.stream) as (chunk: Buffer, done?: () => void) => boolean;
  peer.stream.write = ((chunk: Buffer, done?: () => void): boolean => {
    frames.push(chunk);
    return write(chunk, done);
  }) as typeof peer.stream.write;
  const call = caller.call('unlock', { pin: Buffer.from('123456') });
  const { id, params } = await peer.nextRequest();
  assert.deepEqual(params, { pin: Buffer.from('123456') });
  peer.reply('unlock', { id, result: { token: 'web', state: 'unlocked', already: false } });
  await call;
  assert.equal(frames.length, 1);
  assert(frames[0]?.every((byte) => byte === 0));
});
