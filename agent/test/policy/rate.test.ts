import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { parseRate } from '@keyagent/agent/config/rate.js';
import { RateLimits } from '@keyagent/agent/policy/rate.js';
import { rule } from './rules.js';

test('a bucket holds what one unit of time refills, and says when there is more', () => {
  const limited = rule({ rate: { count: 10, perMs: 1000 } });
  const rates = new RateLimits();
  for (let i = 0; i < 10; i++) assert.equal(rates.take(limited, 33, 5000), 0, String(i));
  assert.equal(rates.take(limited, 33, 5000), 100);
  assert.equal(rates.take(limited, 33, 5060), 40);
  assert.equal(rates.take(limited, 33, 5100), 0);
  assert.equal(rates.take(limited, 33, 5100), 100);
  for (let i = 0; i < 10; i++) assert.equal(rates.take(limited, 33, 6100), 0, `refilled ${i}`);
  assert.equal(rates.take(limited, 33, 6100), 100);
});

test('each uid and each rule has its own bucket', () => {
  const [one, other] = [rule({ rate: { count: 1, perMs: 1000 } }), rule({ rate: { count: 1, perMs: 1000 } })];
  const rates = new RateLimits();
  assert.equal(rates.take(one, 33, 0), 0);
  assert.equal(rates.take(one, 33, 0), 1000);
  assert.equal(rates.take(one, 34, 0), 0);
  assert.equal(rates.take(other, 33, 0), 0);
});

test('a rule without a rate takes nothing', () => {
  const rates = new RateLimits();
  for (let i = 0; i < 100; i++) assert.equal(rates.take(rule({}), 33, 0), 0);
});

test('over any span, no more than the bucket and what was refilled is taken', () => {
  const rate = { count: 7, perMs: 1000 };
  fc.assert(
    fc.property(fc.array(fc.integer({ min: 0, max: 400 }), { minLength: 1, maxLength: 200 }), (steps) => {
      const limited = rule({ rate });
      const rates = new RateLimits();
      let now = 0;
      let taken = 0;
      for (const step of steps) {
        now += step;
        if (rates.take(limited, 33, now) === 0) taken++;
      }
      assert.ok(taken <= rate.count + (now * rate.count) / rate.perMs + 1e-3);
    }),
  );
});

test('whoever waits as long as told gets one', () => {
  fc.assert(
    fc.property(
      fc.integer({ min: 1, max: 5000 }),
      fc.constantFrom(1000, 60_000, 3_600_000),
      (count, perMs) => {
        const limited = rule({ rate: { count, perMs } });
        const rates = new RateLimits();
        let wait = 0;
        for (let i = 0; i <= count && wait === 0; i++) wait = rates.take(limited, 33, 0);
        assert.ok(wait > 0);
        assert.equal(rates.take(limited, 33, wait), 0);
      },
    ),
  );
});

test('rates are counts for a second, minute or hour', () => {
  assert.deepEqual(parseRate('2000/s'), { count: 2000, perMs: 1000 });
  assert.deepEqual(parseRate('100/m'), { count: 100, perMs: 60_000 });
  assert.deepEqual(parseRate('1/h'), { count: 1, perMs: 3_600_000 });
  for (const text of [
    '',
    '0/s',
    '-1/s',
    '1.5/s',
    '1/d',
    '1',
    '/s',
    '1/s ',
    '01/s',
    '1e3/s',
    '9999999999/s',
  ]) {
    assert.equal(parseRate(text), undefined, text);
  }
});
