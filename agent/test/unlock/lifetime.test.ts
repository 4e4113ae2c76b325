import assert from 'node:assert/strict';
import { beforeEach, mock, test } from 'node:test';
import { Lifetime } from '@keyagent/agent/unlock/lifetime.js';

let nowMs: number;
let uses: number;
let over: string[];
beforeEach(() => {
  nowMs = 1_000_000;
  uses = 0;
  over = [];
  mock.timers.reset();
  mock.timers.enable({ apis: ['setTimeout'] });
});

function lifetime(idleMs?: number): Lifetime {
  return new Lifetime({
    idleMs: () => idleMs,
    uses: () => uses,
    over: (why) => over.push(why),
    now: () => nowMs,
  });
}

/** Both clocks: that of the machine, and that of this process's timers. */
function pass(ms: number): void {
  for (let left = ms; left > 0; left -= 50) {
    nowMs += Math.min(50, left);
    mock.timers.tick(Math.min(50, left));
  }
}

test('it ends when its time is over, once, and not before', () => {
  const login = lifetime();
  login.begin(60_000);
  pass(59_900);
  assert.deepEqual([over, login.running, login.leftMs], [[], true, 100]);
  pass(200);
  assert.deepEqual([over, login.running, login.leftMs], [['its time is over'], false, undefined]);
  pass(100_000);
  assert.equal(over.length, 1);
});

test('without a time it has no end', () => {
  const login = lifetime();
  login.begin(undefined);
  pass(200_000);
  assert.deepEqual([over, login.running, login.leftMs], [[], true, undefined]);
});

test('more than a timer takes is no less', () => {
  const login = lifetime();
  login.begin(2 ** 32 - 1);
  pass(20_000);
  assert.deepEqual(over, []);
  nowMs += 2 ** 32;
  mock.timers.tick(10_000);
  assert.equal(over.length, 1);
});

test('a sleep of the machine, in which timers stand still, counts', () => {
  const login = lifetime();
  login.begin(3_600_000);
  pass(1000);
  nowMs += 4_000_000;
  mock.timers.tick(10_000);
  assert.equal(over.length, 1);
});

test('it ends when nobody used the token, and each use begins that time anew', () => {
  const login = lifetime(10_000);
  login.begin(undefined);
  for (let i = 0; i < 5; i++) {
    pass(8000);
    uses++;
  }
  pass(9000);
  assert.deepEqual(over, []);
  pass(2100);
  assert.deepEqual(over, ['nobody used it for a while']);
});

test('uses do not prolong the time that it has', () => {
  const login = lifetime(10_000);
  login.begin(20_000);
  for (let i = 0; i < 4; i++) {
    uses++;
    pass(5000);
  }
  assert.deepEqual(over, ['its time is over']);
});

test('it can be shortened, and not prolonged', () => {
  const login = lifetime();
  login.begin(10_000);
  login.shorten(60_000);
  assert.equal(login.leftMs, 10_000);
  login.shorten(2000);
  pass(2100);
  assert.deepEqual(over, ['its time is over']);
  login.shorten(10);
  pass(1000);
  assert.equal(over.length, 1);
});

test('one that was stopped does not end any more', () => {
  const login = lifetime(10_000);
  login.begin(10_000);
  login.stop();
  pass(100_000);
  assert.deepEqual([over, login.leftMs], [[], undefined]);
});

test('an idle time that a reload changes holds at once', () => {
  let idleMs = 3_600_000;
  const changing = new Lifetime({
    idleMs: () => idleMs,
    uses: () => uses,
    over: (why) => over.push(why),
    now: () => nowMs,
  });
  changing.begin(undefined);
  pass(5000);
  idleMs = 10_000;
  changing.lookNow();
  pass(4000);
  assert.deepEqual(over, []);
  pass(2000);
  assert.equal(over.length, 1);
});
