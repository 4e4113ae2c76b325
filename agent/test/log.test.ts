import assert from 'node:assert/strict';
import { PassThrough } from 'node:stream';
import { describe, it } from 'node:test';
import { createLog, type Log, type LogFields } from '@keyagent/agent/log.js';
import { AgentError } from '@keyagent/protocol';

function record(form: 'json' | 'pretty', write: (log: Log) => void): string {
  const stream = new PassThrough();
  write(createLog(form, stream));
  return String(stream.read());
}

function fieldsOf(error: unknown): Record<string, unknown> {
  return JSON.parse(record('json', (log) => log.error('failed', { error }))) as Record<string, unknown>;
}

describe('createLog', () => {
  it('writes one JSON document a line', () => {
    const line = record('json', (log) =>
      log.info('token state', { token: 'web', state: 'locked', detail: undefined }),
    );
    assert.ok(line.endsWith('\n'));
    const { timestamp, ...rest } = JSON.parse(line) as Record<string, unknown>;
    assert.match(String(timestamp), /^\d{4}-\d\d-\d\dT.*Z$/);
    assert.deepEqual(rest, { level: 'info', message: 'token state', token: 'web', state: 'locked' });
  });

  it('writes one line for people, whatever a peer put into a field', () => {
    const line = record('pretty', (log) => log.warn('key refused', { key: 'a b\n\u001b[2J\u202e', uid: 33 }));
    assert.match(line, /^\S+Z warn key refused key="a b\\n\\u001b\[2J\\u202e" uid=33\n$/);
  });

  it('drops a field that is not on the list', () => {
    const fields = { token: 'web', pin: '1234', digest: 'abcd' } as LogFields;
    for (const form of ['json', 'pretty'] as const) {
      const line = record(form, (log) => log.info('x', fields));
      assert.ok(line.includes('web') && !line.includes('1234') && !line.includes('abcd'), line);
    }
  });

  it('prints code and causes of an error, and none of its other properties', () => {
    const cause = Object.assign(new Error('CKR_GENERAL_ERROR'), { pin: '1234' });
    const fields = fieldsOf(new AgentError('TOKEN_ERROR', 'the token failed', { cause }));
    assert.equal(fields.error, 'the token failed: CKR_GENERAL_ERROR');
    assert.equal(fields.code, 'TOKEN_ERROR');
    assert.equal(fields.stack, undefined);
    assert.ok(!JSON.stringify(fields).includes('1234'));
  });

  it('prints the stack of a defect', () => {
    assert.match(
      String(fieldsOf(new TypeError('x is undefined')).stack),
      /TypeError: x is undefined\n\s+at /,
    );
    const inner = new AgentError('INTERNAL', 'a defect', { cause: new RangeError('too far') });
    assert.match(String(fieldsOf(inner).stack), /RangeError: too far\n/);
  });

  it('takes whatever was thrown', () => {
    assert.equal(fieldsOf('a string').error, 'a string');
    assert.equal(fieldsOf(null).error, 'null');
    const circular = new Error('round');
    circular.cause = circular;
    assert.match(String(fieldsOf(circular).error), /^round(: round){1,10}$/);
  });
});
