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

  test('is short if the best of some is: the first ones are slow for other reasons', () => {
    assert.equal(paceAfter(...times(7, 900), ...times(8, 200), 60).isShort, true);
  });

  test('is long if none of them is short', () => {
    assert.equal(paceAfter(...times(16, 200)).isShort, false);
  });

  test('bears single late operations', () => {
    const pace = paceAfter(...times(16, 60));
    for (let i = 0; i < 100; i++) {
      for (const one of [...times(7, 5000), 60]) pace.record(one);
      assert.equal(pace.isShort, true);
    }
  });

  test('becomes long at once when the token becomes slow', () => {
    assert.equal(paceAfter(...times(20, 60), ...times(8, 5000)).isShort, false);
  });

  test('becomes short again when the token, or the machine, is as it was', () => {
    assert.equal(paceAfter(...times(20, 60), ...times(30, 5000), ...times(32, 60)).isShort, true);
  });
});
