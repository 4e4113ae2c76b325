import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { Pace } from '@keyagent/agent/host/pace.js';

function paceAfter(...microseconds: number[]): Pace {
  const pace = new Pace();
  for (const one of microseconds) pace.record(one);
  return pace;
}

void describe('the pace of a key', () => {
  test('is measured by its first operations', () => {
    assert.equal(paceAfter().synchronous, true);
    assert.equal(paceAfter(900, 900).synchronous, true);
    assert.equal(paceAfter(...Array<number>(15).fill(200)).synchronous, true);
  });

  test('is short if the best of them is: the first ones are slow for other reasons', () => {
    assert.equal(paceAfter(900, 300, 60).synchronous, true);
  });

  test('is long if none of them is short', () => {
    assert.equal(paceAfter(...Array<number>(16).fill(200)).synchronous, false);
  });

  test('is long if the first three are far from short', () => {
    assert.equal(paceAfter(5000, 5000, 5000).synchronous, false);
  });

  test('bears single late operations', () => {
    assert.equal(paceAfter(60, 60, 60, 900, 60, 900, 60, 900).synchronous, true);
  });

  test('becomes long for good when the token becomes slow', () => {
    assert.equal(paceAfter(60, 60, 60, ...Array<number>(8).fill(900)).synchronous, false);
  });
});
