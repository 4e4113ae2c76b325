import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import {
  AgentError,
  decodeReply,
  encodeReply,
  errorTable,
  fromWireError,
  toWireError,
} from '@keyagent/protocol';

test('an AgentError arrives as it was sent', () => {
  const sent = new AgentError('BUSY', 'rule apache: rate used up', {
    candidates: ['pkcs11:object=a'],
    retryAfterMs: 7,
  });
  const { code, message, candidates, retryAfterMs } = fromWireError(toWireError(sent));
  assert.deepEqual([code, message, candidates, retryAfterMs], ['BUSY', sent.message, ['pkcs11:object=a'], 7]);
});

test('what is not there is left out', () => {
  assert.deepEqual(toWireError(new AgentError('DENIED', 'no')), {
    code: errorTable.DENIED.number,
    message: 'no',
  });
});

test('a cause stays here', () => {
  const error = new AgentError('TOKEN_ERROR', 'the token failed', { cause: new Error('CKR_DEVICE_ERROR') });
  assert.deepEqual(toWireError(error), { code: 16, message: 'the token failed' });
});

test('numbers that are unknown, or never travel, count as INTERNAL', () => {
  for (const code of [0, 23, 199, 200, 201, 0xffffffff])
    assert.equal(fromWireError({ code, message: '' }).code, 'INTERNAL');
});

test('a long text is cut between characters, long and many candidates are left out', () => {
  assert.equal(toWireError(new AgentError('DENIED', 'a'.repeat(2000))).message, 'a'.repeat(1024));
  assert.equal(toWireError(new AgentError('DENIED', `a${'é'.repeat(600)}`)).message, `a${'é'.repeat(511)}`);
  const candidates = ['a'.repeat(1025), ...Array.from({ length: 12 }, (_, i) => `pkcs11:object=${i}`)];
  assert.deepEqual(
    toWireError(new AgentError('AMBIGUOUS', '', { candidates })).candidates,
    candidates.slice(1, 9),
  );
});

test('any error can be sent', () => {
  const text = fc.string({
    unit: fc.integer({ min: 0, max: 0xffff }).map((unit) => String.fromCharCode(unit)),
    maxLength: 1500,
  });
  fc.assert(
    fc.property(
      text,
      fc.array(text, { maxLength: 12 }),
      fc.double({ min: 0, max: 1e9, noNaN: true }),
      (message, candidates, retryAfterMs) => {
        const error = toWireError(new AgentError('AMBIGUOUS', message, { candidates, retryAfterMs }));
        const body = encodeReply(undefined, { id: 1, error }).subarray(4);
        assert.deepEqual(
          decodeReply(body, () => 'key'),
          { id: 1, error },
        );
      },
    ),
    { numRuns: 500 },
  );
});
