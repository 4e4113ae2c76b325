import assert from 'node:assert/strict';
import { test } from 'node:test';
import { measure, median, type Contender } from './figure.js';
import { plot } from './report/plot.js';
import { withTable } from './report/write.js';

/** Answers the numbers one after another, and writes down that it was asked. */
function scripted(name: string, numbers: readonly number[], asked: string[] = []): Contender {
  let round = 0;
  return {
    name,
    measure: () => {
      asked.push(name);
      return Promise.resolve(numbers[round++] ?? NaN);
    },
  };
}

const figure = { id: 'f', title: 'A & B', unit: '/s', rounds: 3 };

test('contenders take turns, and another one begins each round', async () => {
  const asked: string[] = [];
  const contenders = [scripted('a', [1, 2, 3], asked), scripted('b', [2, 2, 2], asked)];
  const { series } = await measure({ ...figure, contenders, targets: [] });
  assert.deepEqual(asked, ['a', 'b', 'b', 'a', 'a', 'b']);
  assert.deepEqual(series[0], { name: 'a', median: 2, rounds: [1, 2, 3] });
});

test('a ratio is taken round by round, and held against its limit', async () => {
  const contenders = [scripted('a', [10, 90, 30]), scripted('b', [10, 100, 20])];
  const targets = [
    { of: 'a', against: 'b', atLeast: 1.1 },
    { of: 'a', atMost: 30 },
  ];
  const { outcomes } = await measure({ ...figure, contenders, targets });
  assert.deepEqual(
    outcomes.map(({ value, reached }) => [value, reached]),
    [
      [1, false],
      [30, true],
    ],
  );
});

test('the median of an even count lies between the middle two', () => {
  assert.equal(median([4, 1, 3, 2]), 2.5);
  assert.throws(() => median([]), /nothing/);
});

test('a plot has a bar for each contender and escapes its title', async () => {
  const contenders = [scripted('keyagent', [1, 1, 1]), scripted('other', [2, 2, 2])];
  const svg = plot(await measure({ ...figure, contenders, targets: [] }));
  assert.equal(svg.match(/<rect/g)?.length, 2);
  assert.match(svg, /<title>A &amp; B<\/title>/);
});

test('the table replaces what is between its marks, and nothing else', async () => {
  const contenders = [scripted('keyagent', [1, 1, 1]), scripted('b', [4, 4, 4])];
  const targets = [{ of: 'keyagent', against: 'b', atMost: 0.2 }];
  const results = [await measure({ ...figure, contenders, targets })];
  const machine = { processor: 'P', cores: 2, memoryGiB: 4, system: 's', node: 'n', openssl: 'o', load: 0 };
  const run = { machine: { ...machine, packages: { softhsm2: '2.6' } }, takenAt: '2000-01-01', results };
  const text = withTable('before\n<!-- bench -->\nold\n<!-- /bench -->\nafter\n', run);
  assert.match(text, /^before\n<!-- bench -->\n\n\| what /);
  assert.match(text, /\| A & B \| 1 \/s \| 0.25x b \| ≤ 0.2 \(missed\) \|/);
  assert.ok(text.endsWith('<!-- /bench -->\nafter\n') && !text.includes('old'));
  assert.throws(() => withTable('no marks', run), /lacks/);
});
