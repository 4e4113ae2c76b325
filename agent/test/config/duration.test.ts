import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { parseDuration } from '@keyagent/agent/config/duration.js';

describe('parseDuration', () => {
  const accepted: [text: string, ms: number][] = [
    ['1ms', 1],
    ['500ms', 500],
    ['30s', 30_000],
    ['30m', 1_800_000],
    ['12h', 43_200_000],
    ['1d', 86_400_000],
    ['24d', 2_073_600_000],
    ['2147483647ms', 2_147_483_647],
  ];
  for (const [text, ms] of accepted) {
    it(`reads ${text}`, () => assert.equal(parseDuration(text), ms));
  }
  for (const text of [
    '',
    '0s',
    '12',
    'h',
    '-1s',
    '1.5h',
    '1 h',
    '1H',
    '1h30m',
    '25d',
    '2147483648ms',
    '99999999999s',
    ' 1s',
    '1s\n',
  ]) {
    it(`refuses ${JSON.stringify(text)}`, () => assert.equal(parseDuration(text), undefined));
  }
});
