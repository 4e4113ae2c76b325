import assert from 'node:assert/strict';
import { mock, test } from 'node:test';
import { Rescan } from '@keyagent/agent/token/rescan.js';

/** Readings that the test ends itself. */
class Readings {
  started = 0;
  readonly failures: unknown[] = [];
  private ends: { resolve: () => void; reject: (error: Error) => void }[] = [];

  readonly read = (): Promise<void> => {
    this.started++;
    return new Promise((resolve, reject) => this.ends.push({ resolve, reject }));
  };

  rescan(everyMs: () => number): Rescan {
    return new Rescan(this.read, everyMs, (error) => this.failures.push(error));
  }

  end(error?: Error): void {
    const first = this.ends.shift();
    if (error === undefined) first?.resolve();
    else first?.reject(error);
  }
}

/** Everything that is settled has been told. */
const turn = (): Promise<void> => new Promise((resolve) => setImmediate(resolve));

test('who asks while a reading runs gets the next one, and all of them the same', async () => {
  const readings = new Readings();
  const rescan = readings.rescan(() => 0);
  const first = rescan.now();
  const [second, third] = [rescan.now(), rescan.now()];
  await turn();
  assert.equal(readings.started, 1);
  let isSecondDone = false;
  void second.then(() => (isSecondDone = true));
  readings.end();
  await first;
  await turn();
  assert.deepEqual([readings.started, isSecondDone], [2, false]);
  readings.end();
  await Promise.all([second, third]);
  assert.equal(readings.started, 2);
});

test('a reading that fails is told to who asked, and the next one is made all the same', async () => {
  const readings = new Readings();
  const rescan = readings.rescan(() => 0);
  const first = rescan.now();
  const second = rescan.now();
  readings.end(new Error('the token failed'));
  await assert.rejects(first, /the token failed/);
  await turn();
  readings.end();
  await second;
  rescan.soon();
  readings.end(new Error('again'));
  await turn();
  assert.deepEqual(readings.failures.map(String), ['Error: again']);
});

test('it reads again after the pause that holds then; 0 and stop end that', async () => {
  mock.timers.enable({ apis: ['setTimeout'] });
  try {
    const readings = new Readings();
    let everyMs = 1000;
    const rescan = readings.rescan(() => everyMs);
    const readOnce = async (): Promise<void> => {
      readings.end();
      await turn();
    };
    rescan.soon();
    await readOnce();
    mock.timers.tick(999);
    assert.equal(readings.started, 1);
    mock.timers.tick(1);
    assert.equal(readings.started, 2);
    everyMs = 0;
    await readOnce();
    mock.timers.tick(100_000);
    assert.equal(readings.started, 2);
    everyMs = 1000;
    rescan.soon();
    await readOnce();
    rescan.stop();
    mock.timers.tick(100_000);
    assert.equal(readings.started, 3);
  } finally {
    mock.timers.reset();
  }
});
