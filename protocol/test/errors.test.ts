import assert from 'node:assert/strict';
import { test } from 'node:test';
import {
  AgentError,
  algorithms,
  errorCode,
  errorTable,
  isAlgorithmName,
  mechanisms,
  mechanismsOf,
  keyAlgorithms,
} from '@keyagent/protocol';

test('every error number is its own, and errorCode finds the name of those that travel', () => {
  const numbers = Object.values(errorTable).map(({ number }) => number);
  assert.equal(new Set(numbers).size, numbers.length);
  for (const [name, { number }] of Object.entries(errorTable)) {
    assert.equal(errorCode(number), number < 200 ? name : undefined);
  }
  assert.equal(errorCode(0), undefined);
  assert.equal(errorCode(23), undefined);
});

test('AgentError carries code, cause and what the table says of retrying', () => {
  const cause = new Error('below');
  const error = new AgentError('BUSY', 'later', { cause, retryAfterMs: 3 });
  assert.deepEqual([error.code, error.cause, error.retryAfterMs, error.retryable], ['BUSY', cause, 3, true]);
  assert.equal(new AgentError('DENIED', 'no').retryable, false);
  assert(!Object.hasOwn(new AgentError('DENIED', 'no'), 'cause'));
});

test('isAlgorithmName knows the table and nothing of the prototype', () => {
  for (const name of Object.keys(algorithms)) assert(isAlgorithmName(name));
  for (const name of ['', 'toString', '__proto__', 'RSA-PSS-SHA256', 'rsa-pss'])
    assert(!isAlgorithmName(name), name);
});

test('each mechanism belongs to some key algorithm, and each algorithm to a mechanism', () => {
  const possible = new Set(keyAlgorithms.flatMap((algorithm) => mechanismsOf(algorithm)));
  assert.deepEqual([...possible].sort(), [...mechanisms].sort());
  const used = new Set(Object.values(algorithms).map(({ mechanism }) => mechanism));
  assert.deepEqual([...used].sort(), [...mechanisms].sort());
});
