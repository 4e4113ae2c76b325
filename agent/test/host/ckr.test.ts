import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import pkcs11js from 'pkcs11js';
import { AgentError } from '@keyagent/protocol';
import { TokenFailure, rvOf, tokenFailure, translate } from '@keyagent/agent/host/ckr.js';

void describe('the translation of return values', () => {
  const rows: [string, number, string, string][] = [
    ['CKR_GENERAL_ERROR', 0x05, 'TOKEN_ERROR', 'doubt'],
    ['CKR_DEVICE_ERROR', 0x30, 'TOKEN_ERROR', 'doubt'],
    ['CKR_DEVICE_REMOVED', 0x32, 'TOKEN_ABSENT', 'absent'],
    ['CKR_TOKEN_NOT_PRESENT', 0xe0, 'TOKEN_ABSENT', 'absent'],
    ['CKR_SESSION_HANDLE_INVALID', 0xb3, 'TOKEN_ERROR', 'reopen'],
    ['CKR_SESSION_CLOSED', 0xb0, 'TOKEN_ERROR', 'reopen'],
    ['CKR_KEY_HANDLE_INVALID', 0x60, 'TOKEN_ERROR', 'find'],
    ['CKR_OBJECT_HANDLE_INVALID', 0x82, 'TOKEN_ERROR', 'find'],
    ['CKR_USER_NOT_LOGGED_IN', 0x101, 'LOCKED', 'locked'],
    ['CKR_SESSION_COUNT', 0xb1, 'BUSY', 'none'],
    ['CKR_CRYPTOKI_NOT_INITIALIZED', 0x190, 'TOKEN_ERROR', 'restart'],
    ['CKR_PIN_INCORRECT', 0xa0, 'PIN_INCORRECT', 'none'],
    ['CKR_PIN_LOCKED', 0xa4, 'PIN_BLOCKED', 'none'],
    ['CKR_MECHANISM_INVALID', 0x70, 'MECHANISM', 'none'],
    ['CKR_ENCRYPTED_DATA_INVALID', 0x40, 'DECRYPT_FAILED', 'none'],
    ['CKR_0x80000001', 0x80000001, 'TOKEN_ERROR', 'none'],
  ];
  for (const [ckr, rv, code, recovery] of rows) {
    test(`${ckr} is ${code}, recovery ${recovery}`, () => {
      const failure = translate(new pkcs11js.Pkcs11Error(ckr, rv));
      assert.ok(failure instanceof TokenFailure);
      assert.deepEqual([failure.ckr, failure.code, failure.recovery], [ckr, code, recovery]);
    });
  }

  test('return values without a row keep their name', () => {
    assert.deepEqual(tokenFailure(0x0a).ckr, 'CKR_CANT_LOCK');
    assert.deepEqual(tokenFailure(0x0a).code, 'TOKEN_ERROR');
  });

  test('understands the error of C_FindObjects, which carries its number in the text', () => {
    assert.equal(rvOf(new Error('CKR_TOKEN_NOT_PRESENT:224')), 0xe0);
    assert.equal(rvOf(new Error('CKR_OK:0')), undefined);
    assert.equal(rvOf(new Error('about CKR_TOKEN_NOT_PRESENT:224')), undefined);
  });

  test('keeps what is an answer already', () => {
    const answer = new AgentError('INVALID', 'no');
    assert.equal(translate(answer), answer);
  });

  test('makes INTERNAL of a defect, with its cause', () => {
    const defect = new TypeError('x is not a function');
    const failure = translate(defect);
    assert.equal(failure.code, 'INTERNAL');
    assert.equal(failure.cause, defect);
    assert.equal(rvOf(defect), undefined);
    assert.equal(rvOf('text'), undefined);
  });
});
