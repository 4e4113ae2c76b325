import assert from 'node:assert/strict';
import { test } from 'node:test';
import { AgentError } from '@keyagent/protocol';
import { Cancellation } from '@keyagent/agent/cancellation.js';
import { FairQueue, type LaneName } from '@keyagent/agent/token/fair-queue.js';

const never = new Cancellation();

/** A queue whose places are given back by the test, one at a time, and the order in which they were taken. */
class Counter {
  readonly served: string[] = [];
  readonly failed: string[] = [];
  readonly queue: FairQueue;
  readonly #finish: (() => void)[] = [];

  nowMs = 0;

  constructor(places: number, waiting = 1000) {
    const now = (): number => this.nowMs;
    this.queue = new FairQueue({ places, waiting, busy: 'too many', retryAfterMs: 100, now });
  }

  ask(lane: LaneName, name: string, cancellation = never): void {
    const work = (): Promise<void> => {
      this.served.push(name);
      return new Promise((resolve) => this.#finish.push(resolve));
    };
    this.queue.run(lane, cancellation, work).catch((error: unknown) => {
      this.failed.push(`${name} ${error instanceof AgentError ? error.code : String(error)}`);
    });
  }

  /** Ends the work that has run longest, and lets the next begin. */
  async finishOne(): Promise<void> {
    this.#finish.shift()?.();
    await settled();
  }

  async finishAll(): Promise<void> {
    while (this.queue.taken > 0) await this.finishOne();
  }
}

function settled(): Promise<void> {
  return new Promise((resolve) => setImmediate(resolve));
}

test('places are taken at once, and only as many as there are', async () => {
  const counter = new Counter(2);
  for (const name of ['a', 'b', 'c']) counter.ask(1, name);
  await settled();
  assert.deepEqual([counter.served, counter.queue.taken, counter.queue.waiting], [['a', 'b'], 2, 1]);
  await counter.finishAll();
  assert.deepEqual([counter.served, counter.queue.taken, counter.queue.waiting], [['a', 'b', 'c'], 0, 0]);
});

test('a flood of one uid delays another by one turn, whenever that comes', async () => {
  const counter = new Counter(1);
  for (let i = 0; i < 100; i++) counter.ask(1, `flood ${i}`);
  for (const name of ['quiet 0', 'quiet 1', 'quiet 2']) counter.ask(2, name);
  for (let i = 0; i < 7; i++) await counter.finishOne();
  assert.deepEqual(counter.served, [
    ...['flood 0', 'flood 1', 'quiet 0', 'flood 2', 'quiet 1', 'flood 3', 'quiet 2', 'flood 4'],
  ]);
  // It was served last before the flood's last two.
  counter.ask(2, 'late');
  await counter.finishOne();
  await counter.finishOne();
  assert.deepEqual(counter.served.slice(-2), ['late', 'flood 5']);
  await counter.finishAll();
});

test('whoever asked lately finds a place free, whatever another asks for', async () => {
  const counter = new Counter(4);
  counter.ask(2, 'quiet 0');
  await counter.finishAll();
  for (let i = 0; i < 100; i++) counter.ask(1, `flood ${i}`);
  await settled();
  assert.deepEqual([counter.queue.taken, counter.queue.waiting], [3, 97]);
  for (const name of ['quiet 1', 'quiet 2', 'quiet 3']) {
    counter.ask(2, name);
    await settled();
    assert.equal(counter.served.at(-1), name, 'at once');
    for (let i = 0; i < 4; i++) await counter.finishOne();
    assert.equal(counter.queue.taken, 3);
    counter.nowMs += 900;
  }
  counter.nowMs += 200;
  await counter.finishOne();
  assert.equal(counter.queue.taken, 4, 'it has not asked for long');
  await counter.finishAll();
  assert.equal(counter.served.length, 104);
});

test('however many asked lately, no more than a quarter of the places is kept for them', async () => {
  const counter = new Counter(8);
  for (let lane = 2; lane < 40; lane++) counter.ask(`unit ${lane}`, 'quiet');
  await counter.finishAll();
  for (let i = 0; i < 20; i++) counter.ask(1, 'flood');
  await settled();
  assert.equal(counter.queue.taken, 6);
  await counter.finishAll();
});

test('a single place is kept for nobody', async () => {
  const counter = new Counter(1);
  counter.ask(2, 'quiet');
  await counter.finishAll();
  counter.ask(1, 'busy');
  await settled();
  assert.deepEqual(counter.served, ['quiet', 'busy']);
  await counter.finishAll();
});

test('three uids that always have something waiting get a third each', async () => {
  const counter = new Counter(4);
  for (let i = 0; i < 300; i++)
    for (const uid of [1, 2, 3]) if (uid === 1 || i < 100) counter.ask(uid, String(uid));
  for (let i = 0; i < 150; i++) await counter.finishOne();
  const shares = [1, 2, 3].map((uid) => counter.served.filter((name) => name === String(uid)).length);
  assert.ok(Math.max(...shares) - Math.min(...shares) <= 4, shares.join(' '));
  await counter.finishAll();
});

test('one uid is served in the order in which it asked', async () => {
  const counter = new Counter(3);
  const names = Array.from({ length: 20 }, (_, i) => String(i));
  for (const name of names) counter.ask(1, name);
  await counter.finishAll();
  assert.deepEqual(counter.served, names);
});

test('over the bound, the longest lane loses its last: the flood, not the newcomer', async () => {
  const counter = new Counter(1, 4);
  for (let i = 0; i < 7; i++) counter.ask(1, `flood ${i}`);
  await settled();
  assert.deepEqual(counter.failed, ['flood 5 BUSY', 'flood 6 BUSY']);
  counter.ask(2, 'quiet');
  await settled();
  assert.deepEqual(counter.failed.slice(2), ['flood 4 BUSY']);
  assert.equal(counter.queue.waiting, 4);
  await counter.finishAll();
  assert.deepEqual(counter.served, ['flood 0', 'flood 1', 'quiet', 'flood 2', 'flood 3']);
});

test('BUSY says when to try again', async () => {
  const queue = new FairQueue({ places: 0, waiting: 0, busy: 'too many', retryAfterMs: 100 });
  await assert.rejects(
    queue.run(1, never, () => Promise.resolve()),
    (error: unknown) => error instanceof AgentError && error.code === 'BUSY' && error.retryAfterMs === 100,
  );
});

test('whoever gives up leaves its turn to the next', async () => {
  const counter = new Counter(1);
  const cancellation = new Cancellation();
  counter.ask(1, 'first');
  counter.ask(1, 'second', cancellation);
  counter.ask(1, 'third');
  cancellation.cancel(new AgentError('CANCELLED', 'gone'));
  await settled();
  assert.deepEqual([counter.failed, counter.queue.waiting], [['second CANCELLED'], 1]);
  await counter.finishAll();
  assert.deepEqual(counter.served, ['first', 'third']);
  counter.ask(1, 'fourth');
  await counter.finishAll();
});

test('work that fails gives its place back', async () => {
  const queue = new FairQueue({ places: 1, waiting: 1, busy: 'too many', retryAfterMs: 100 });
  const failure = () => Promise.reject(new Error('no'));
  await assert.rejects(queue.run(1, never, failure), /no/);
  assert.equal(queue.taken, 0);
  assert.equal(await queue.run(1, never, () => Promise.resolve(7)), 7);
});
