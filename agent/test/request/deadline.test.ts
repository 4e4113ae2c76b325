import assert from 'node:assert/strict';
import { test } from 'node:test';
import { AgentError } from '@keyagent/protocol';
import { Cancellation } from '@keyagent/agent/cancellation.js';
import { withDeadline } from '@keyagent/agent/request/deadline.js';

const never = (): Promise<never> => new Promise(() => undefined);

test('work that is done in time gives its result', async () => {
  assert.equal(await withDeadline(1000, new Cancellation(), () => Promise.resolve(7)), 7);
});

test('work that is late gives TIMEOUT and is told to stop', async () => {
  const cancellation = new Cancellation();
  const told: string[] = [];
  cancellation.onCancel(({ message }) => told.push(message));
  await assert.rejects(withDeadline(1, cancellation, never), { code: 'TIMEOUT' });
  assert.match(told.join(), /^no answer from the token within 1 ms/);
});

test('a cancelled request ends with the reason of its cancellation', async () => {
  const cancellation = new Cancellation();
  const waiting = withDeadline(1000, cancellation, never);
  cancellation.cancel(new AgentError('CANCELLED', 'not wanted'));
  await assert.rejects(waiting, { code: 'CANCELLED' });
});

test('a request that is cancelled already is not begun', async () => {
  const cancellation = new Cancellation();
  cancellation.cancel(new AgentError('CANCELLED', 'gone'));
  let begun = false;
  const refused = withDeadline(1000, cancellation, () => {
    begun = true;
    return never();
  });
  await assert.rejects(refused, { code: 'CANCELLED' });
  assert.equal(begun, false);
});

test('an error of the work is passed on', async () => {
  const failing = withDeadline(1000, new Cancellation(), () =>
    Promise.reject(new AgentError('LOCKED', 'locked')),
  );
  await assert.rejects(failing, { code: 'LOCKED' });
});

function timers(): number {
  return process.getActiveResourcesInfo().filter((name) => name === 'Timeout').length;
}

test('no timer is left, however the work ends', async () => {
  const before = timers();
  const works: (() => Promise<number>)[] = [
    () => Promise.resolve(7),
    () => Promise.reject(new AgentError('LOCKED', 'locked')),
    () => {
      throw new AgentError('DENIED', 'before it began');
    },
  ];
  const ends = works.map((work) => withDeadline(60_000, new Cancellation(), work));
  assert.deepEqual(
    (await Promise.allSettled(ends)).map((end) =>
      end.status === 'fulfilled' ? end.value : (end.reason as AgentError).code,
    ),
    [7, 'LOCKED', 'DENIED'],
  );
  assert.equal(timers(), before);
});
