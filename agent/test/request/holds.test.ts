import assert from 'node:assert/strict';
import { test } from 'node:test';
import { AgentError } from '@keyagent/protocol';
import { Holds } from '@keyagent/agent/request/holds.js';
import { rule } from '../policy/rules.js';

const locked = new AgentError('LOCKED', 'still being unlocked');
const refusal = () => locked;

/** A wait that ends when the test says. */
function wait(): { wait: () => Promise<string>; end: () => void; fail: (error: Error) => void } {
  let end = (): void => undefined;
  let fail = (_error: Error): void => undefined;
  const promise = new Promise<string>((resolve, reject) => {
    end = () => {
      resolve('unlocked');
    };
    fail = reject;
  });
  return { wait: () => promise, end, fail };
}

test('as many requests of a rule wait as it says, and one more is refused until one of them has its answer', async () => {
  const holds = new Holds();
  const patient = rule({ holdMax: 2 });
  const hold = (refused: typeof refusal, until: () => Promise<string>) => holds.hold(patient, refused, until);
  const [one, two, three] = [wait(), wait(), wait()];
  const first = hold(refusal, one.wait);
  const second = hold(refusal, two.wait);
  await assert.rejects(hold(refusal, three.wait), locked);
  one.end();
  assert.equal(await first, 'unlocked');
  const third = hold(refusal, three.wait);
  await assert.rejects(hold(refusal, one.wait), locked);
  const cancelled = new Error('cancelled');
  two.fail(cancelled);
  await assert.rejects(second, cancelled);
  three.end();
  assert.equal(await third, 'unlocked');
  for (const each of [hold(refusal, one.wait), hold(refusal, one.wait)]) assert.equal(await each, 'unlocked');
});

test('hold_max = 0 refuses without waiting; each rule counts for itself; without it any number waits', async () => {
  const holds = new Holds();
  const [never, once, always] = [rule({ holdMax: 0 }), rule({ holdMax: 1 }), rule({})];
  const asked: string[] = [];
  await assert.rejects(
    holds.hold(never, refusal, () => {
      asked.push('never');
      return Promise.resolve();
    }),
    locked,
  );
  assert.deepEqual(asked, []);
  const waits = wait();
  const all = [once, always, always, undefined].map((each) => holds.hold(each, refusal, waits.wait));
  await assert.rejects(holds.hold(once, refusal, waits.wait), locked);
  waits.end();
  assert.deepEqual(await Promise.all(all), Array(4).fill('unlocked'));
});
