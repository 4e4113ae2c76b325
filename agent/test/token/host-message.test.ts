import assert from 'node:assert/strict';
import type { ChildProcess } from 'node:child_process';
import { subscribe, unsubscribe } from 'node:diagnostics_channel';
import { test } from 'node:test';
import { Packr } from 'msgpackr';
import { encodeFrame } from '@keyagent/protocol';
import { parseHostMessage } from '@keyagent/agent/token/host-message.js';
import { HostLost, HostProcess, TokenFault } from '@keyagent/agent/token/host-process.js';

const packr = new Packr({ useRecords: false });
const error = { code: 'TOKEN_ERROR', message: 'the token failed', ckr: 'CKR_DEVICE_ERROR' };

const good: readonly [what: string, message: unknown, expected: unknown][] = [
  ['a result', [7, null, { a: 1 }], { id: 7, error: null, result: { a: 1 } }],
  ['an error', [7, error, null], { id: 7, error, result: null }],
  ['the token left', [0, 'presence', { present: false }], { event: 'presence', params: { present: false } }],
  ['the token took the PIN', [0, 'authenticated', {}], { event: 'authenticated', params: {} }],
];

for (const [what, message, expected] of good) {
  test(`a host says: ${what}`, () => {
    assert.deepEqual(parseHostMessage(packr.pack(message)), expected);
  });
}

/** What no host says. */
const bad: Readonly<Record<string, unknown>> = {
  'a number': 1,
  'a map': { id: 1 },
  'too little': [2, null],
  'too much': [2, null, {}, {}],
  'an id that is text': ['2', null, {}],
  'an id that is a fraction': [2.5, null, {}],
  'neither result nor error': [2, null, null],
  'an undefined error': [2, undefined, null],
  'a result that is a number': [2, null, 3],
  'both result and error': [2, error, {}],
  'an error that is text': [2, 'TOKEN_ERROR', null],
  'an error without a code': [2, { message: 'x' }, null],
  'a code that there is not': [2, { ...error, code: 'WHAT' }, null],
  'a code of a success': [2, { ...error, code: 'ok' }, null],
  'an error without a message': [2, { code: 'TOKEN_ERROR' }, null],
  'a message that is a number': [2, { ...error, message: 5 }, null],
  'a CKR_ that is a number': [2, { ...error, ckr: 5 }, null],
  'a CKR_ that is none': [2, { ...error, ckr: 'x' }, null],
  'a CKR_ without end': [2, { ...error, ckr: `CKR_${'x'.repeat(80)}` }, null],
  'a code that never travels': [2, { ...error, code: 'UNTRUSTED' }, null],
  'a code of every object': [2, { ...error, code: 'constructor' }, null],
  'a login that is a number': [2, { ...error, atLogin: 1 }, null],
  'an event that there is not': [0, 'locked', {}],
  'an event without a name': [0, null, {}],
  'presence of nothing': [0, 'presence', null],
  'presence that is a number': [0, 'presence', { present: 1 }],
};

for (const [what, message] of Object.entries(bad)) {
  test(`no host says: ${what}`, () => {
    assert.throws(() => parseHostMessage(packr.pack(message)), Error);
  });
}

test('bytes that are no MessagePack are no message', () => {
  assert.throws(() => parseHostMessage(Buffer.of(0xc1)), Error);
});

interface Heard {
  readonly host: HostProcess;
  readonly child: ChildProcess;
  /** In place of its own words, which come later. */
  says(message: unknown): void;
}

function startHost(): Heard {
  let child: ChildProcess | undefined;
  const made = (message: unknown): void => {
    child = (message as { process: ChildProcess }).process;
  };
  subscribe('child_process', made);
  const limits = { operationMs: 60_000, loginMs: 60_000 };
  const host = new HostProcess({ token: 'web', sessions: 1, env: {}, limits });
  unsubscribe('child_process', made);
  const channel = child?.stdio[3];
  assert.ok(child && channel);
  const says = (message: unknown): void => {
    channel.emit('data', encodeFrame(packr.pack(message)));
  };
  return { host, child, says };
}

for (const [what, message] of Object.entries({ ...bad, 'a reply to nobody': [9, null, {}] })) {
  test(`a host that says ${what} is killed, and only after what it said before`, async () => {
    const { host, child, says } = startHost();
    const ended: string[] = [];
    host.once('exit', (how) => ended.push(how));
    const [first, second] = [host.call('token', {}), host.call('token', {})];
    const failed = assert.rejects(first, TokenFault);
    const lost = assert.rejects(second, HostLost);
    says([1, error, null]);
    assert.equal(child.killed, false);
    says(message);
    assert.equal(child.killed, true);
    await Promise.all([failed, lost]);
    assert.deepEqual(ended, ['protocol']);
  });
}

test('a host that ends with a request unread is known to have ended at once', async () => {
  const { host } = startHost();
  // Nothing else keeps this process waiting: if the end of the socketpair told nothing, this would never settle.
  const lost = assert.rejects(host.call('token', {}), HostLost);
  host.kill();
  await lost;
});
