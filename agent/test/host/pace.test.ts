import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { Pace } from '@keyagent/agent/host/pace.js';

function paceAfter(...microseconds: number[]): Pace {
  const pace = new Pace();
  for (const one of microseconds) pace.record(one);
  return pace;
}

const times = (count: number, microseconds: number): number[] => Array<number>(count).fill(microseconds);

void describe('the pace of a key', () => {
  test('is long until it was measured', () => {
    assert.equal(paceAfter().isShort, false);
    assert.equal(paceAfter(...times(15, 60)).isShort, false);
    assert.equal(paceAfter(...times(16, 60)).isShort, true);
  });

  test('is short if the best of some is, and few are late', () => {
    assert.equal(paceAfter(...times(15, 200), 60).isShort, true);
    const every = (count: number, rare: number): number[] =>
      Array.from({ length: 64 }, (_, i) => (i % count === 0 ? rare : 60));
    assert.equal(paceAfter(...every(4, 5000)).isShort, true);
    assert.equal(paceAfter(...times(16, 200)).isShort, false);
    assert.equal(
      paceAfter(...Array.from({ length: 64 }, (_, i) => (i % 3 === 0 ? 60 : 250_000))).isShort,
      false,
    );
  });

  test('bears single late operations', () => {
    const pace = paceAfter(...times(16, 60));
    for (let i = 0; i < 100; i++) {
      for (const one of [5000, 60, 60, 60]) pace.record(one);
      assert.equal(pace.isShort, true);
    }
  });

  test('becomes long at once when the token becomes slow', () => {
    assert.equal(paceAfter(...times(20, 60), ...times(3, 5000)).isShort, false);
  });

  test('goes by a failure only if that was late', () => {
    const pace = paceAfter(...times(16, 60));
    for (const one of times(3, 5000)) pace.record(one, false);
    assert.equal(pace.isShort, false);
    for (const one of times(16, 60)) pace.record(one, false);
    assert.equal(pace.isShort, false);
  });

  test('becomes short again when the token, or the machine, is as it was', () => {
    assert.equal(paceAfter(...times(20, 60), ...times(30, 5000), ...times(32, 60)).isShort, true);
  });
});
