import assert from 'node:assert/strict';
import { test } from 'node:test';
import { setImmediate } from 'node:timers/promises';
import { AgentError } from '@keyagent/protocol';
import { Cancellation } from '@keyagent/agent/cancellation.js';
import type { HostResult } from '@keyagent/agent/host/host-protocol.js';
import { Availability, type Hold } from '@keyagent/agent/token/availability.js';
import type { HostSlot } from '@keyagent/agent/token/host-slot.js';
import { Operations } from '@keyagent/agent/token/operations.js';
import type { ServedKey } from '@keyagent/agent/token/served-key.js';

const key = { identity: 'www', alwaysAuthenticate: false } as ServedKey;
const locked = new AgentError('LOCKED', 'still being unlocked');

/** A token of one session, unlocked, whose host answers when the test says. */
function site(): {
  availability: Availability;
  sign: (hold: Hold) => Promise<HostResult<'sign'>>;
  answers: (() => void)[];
} {
  const availability = new Availability('web', { holdMs: 60_000 });
  availability.set('unlocked', '');
  const answers: (() => void)[] = [];
  const perform = (): Promise<HostResult<'sign'>> =>
    new Promise((resolve) => {
      answers.push(() => {
        resolve({ signature: Buffer.alloc(64) });
      });
    });
  const slot = { loggedIn: true, inFlight: 0, perform } as unknown as HostSlot;
  const operations = new Operations({
    token: 'web',
    sessions: 1,
    availability,
    slots: [slot],
    contextLogin: () => Promise.reject(new Error('no PIN is asked for')),
    loginLost: () => undefined,
    keyChanged: () => undefined,
  });
  const sign = (hold: Hold): Promise<HostResult<'sign'>> =>
    operations.perform(
      'sign',
      key,
      (ref) => ({ ref, mechanism: 'ecdsa', hash: 'sha256', data: Buffer.alloc(32) }),
      { lane: 0, cancellation: new Cancellation(), hold, repeated: false, sent: () => undefined },
    );
  return { availability, sign, answers };
}

test('a request that waits in turn when the login goes counts among those that wait for it, and each may be refused', async () => {
  const { availability, sign, answers } = site();
  let waiting = 0;
  /** As hold_max = 2. */
  const hold: Hold = async (refusal, wait) => {
    if (waiting === 2) throw refusal();
    waiting++;
    return wait();
  };
  const first = sign(hold);
  const others = [sign(hold), sign(hold), sign(hold)].map((each) => each.catch((error: unknown) => error));
  await setImmediate();
  const [answer, ...more] = answers.splice(0);
  assert.deepEqual(more, [], 'one has the session, three wait for it');
  availability.set('unlocking', 'the token host restarts');
  answer?.();
  await first;
  await setImmediate();
  assert.equal(waiting, 2);
  assert.equal(await Promise.race(others), await others[2], 'the third is refused at once');
  assert.equal(((await others[2]) as AgentError).code, locked.code);
  availability.set('unlocked', '');
  for (const each of others.slice(0, 2)) {
    while (answers.length === 0) await setImmediate();
    answers.shift()?.();
    assert.equal(((await each) as HostResult<'sign'>).signature.length, 64);
  }
});
