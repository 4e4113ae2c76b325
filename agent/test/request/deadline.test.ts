import assert from 'node:assert/strict';
import { test } from 'node:test';
import { AgentError } from '@keyagent/protocol';
import { withDeadline } from '@keyagent/agent/request/deadline.js';

const never = (): Promise<never> => new Promise(() => undefined);

test('work that is done in time gives its result', async () => {
  assert.equal(await withDeadline(1000, new AbortController().signal, () => Promise.resolve(7)), 7);
});

test('work that is late gives TIMEOUT and is told to stop', async () => {
  let told: AbortSignal | undefined;
  const late = withDeadline(1, new AbortController().signal, (signal) => {
    told = signal;
    return never();
  });
  await assert.rejects(late, { code: 'TIMEOUT' });
  assert.equal(told?.aborted, true);
});

test('a cancelled request ends with the reason of its cancellation', async () => {
  const cancel = new AbortController();
  const waiting = withDeadline(1000, cancel.signal, never);
  cancel.abort(new AgentError('CANCELLED', 'not wanted'));
  await assert.rejects(waiting, { code: 'CANCELLED' });
});

test('an error of the work is passed on', async () => {
  const failing = withDeadline(1000, new AbortController().signal, () =>
    Promise.reject(new AgentError('LOCKED', 'locked')),
  );
  await assert.rejects(failing, { code: 'LOCKED' });
});
