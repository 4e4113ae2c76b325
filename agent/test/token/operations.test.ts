import assert from 'node:assert/strict';
import { test } from 'node:test';
import { setImmediate } from 'node:timers/promises';
import { AgentError } from '@keyagent/protocol';
import { Cancellation } from '@keyagent/agent/cancellation.js';
import type { HostResult } from '@keyagent/agent/host/host-protocol.js';
import { Availability, type Hold } from '@keyagent/agent/token/availability.js';
import { HostLost, TokenFault } from '@keyagent/agent/token/host-process.js';
import type { HostSlot } from '@keyagent/agent/token/host-slot.js';
import { Operations, type PerformOptions } from '@keyagent/agent/token/operations.js';
import type { ServedKey } from '@keyagent/agent/token/served-key.js';

interface Asked {
  resolve(result: HostResult<'sign'>): void;
  reject(error: Error): void;
}

interface How extends PerformOptions {
  readonly alwaysAuthenticate: boolean;
}

const signature = { signature: Buffer.alloc(64) };
const locked = new AgentError('LOCKED', 'still being unlocked');
const gone = new AgentError('CANCELLED', 'the requester disconnected');
const notLoggedIn = new TokenFault({ code: 'LOCKED', message: 'CKR_USER_NOT_LOGGED_IN' });

/** A token that is unlocked, whose one host answers when the test says. */
class Site {
  readonly availability = new Availability('web', { holdMs: 60_000 });
  /** What it told the token. */
  readonly told: string[] = [];
  private readonly operations: Operations;
  /** What the host has and did not answer, in the order in which it got it. */
  private readonly asked: Asked[] = [];

  constructor(sessions = 1) {
    this.availability.set('unlocked', '');
    const perform = (): Promise<HostResult<'sign'>> =>
      new Promise((resolve, reject) => this.asked.push({ resolve, reject }));
    this.operations = new Operations({
      token: 'web',
      sessions,
      availability: this.availability,
      slots: [{ loggedIn: true, inFlight: 0, perform } as unknown as HostSlot],
      contextLogin: (_key, _cancellation, use) => {
        this.told.push('PIN');
        return use({ pin: Buffer.alloc(4), authenticated: () => undefined });
      },
      loginLost: () => this.told.push('login lost'),
      keyChanged: () => this.told.push('key changed'),
    });
  }

  /** How many the host has. */
  held(): number {
    return this.asked.length;
  }

  sign({ alwaysAuthenticate = false, ...how }: Partial<How> = {}): Promise<HostResult<'sign'>> {
    return this.operations.perform(
      'sign',
      { identity: 'www', alwaysAuthenticate } as ServedKey,
      (ref) => ({ ref, mechanism: 'ecdsa', hash: 'sha256', data: Buffer.alloc(32) }),
      {
        lane: 0,
        cancellation: new Cancellation(),
        hold: (_refusal, wait) => wait(),
        repeated: false,
        sent: () => undefined,
        ...how,
      },
    );
  }

  /** The host answers the one that it has longest. */
  async answer(): Promise<void> {
    this.asked.shift()?.resolve(signature);
    await setImmediate();
  }

  async fail(error: Error): Promise<void> {
    this.asked.shift()?.reject(error);
    await setImmediate();
  }

  /** The host ends. */
  async crash(): Promise<void> {
    for (const { reject } of this.asked.splice(0)) reject(new HostLost());
    await setImmediate();
  }

  /** Whether nothing is unanswered. */
  async isIdle(): Promise<boolean> {
    const busy = new AbortController();
    const idle = this.operations.idle(busy.signal).then(
      () => true,
      () => false,
    );
    await setImmediate();
    busy.abort();
    return idle;
  }
}

test('a request that waits in turn when the login goes counts among those that wait for it, and each may be refused', async () => {
  const site = new Site();
  let waiting = 0;
  /** As hold_max = 2. */
  const hold: Hold = async (refusal, wait) => {
    if (waiting === 2) throw refusal();
    waiting++;
    return wait();
  };
  const first = site.sign({ hold });
  const others = [1, 2, 3].map(() => site.sign({ hold }).catch((error: unknown) => error));
  await setImmediate();
  assert.equal(site.held(), 1, 'one has the session, three wait for it');
  site.availability.set('unlocking', 'the token host restarts');
  await site.answer();
  await first;
  assert.equal(waiting, 2);
  assert.equal(await Promise.race(others), await others[2], 'the third is refused at once');
  assert.equal(((await others[2]) as AgentError).code, locked.code);
  site.availability.set('unlocked', '');
  for (const each of others.slice(0, 2)) {
    while (site.held() === 0) await setImmediate();
    await site.answer();
    assert.equal(await each, signature);
  }
});

test('one that is cancelled while it waits is told at once and leaves its turn to the next', async () => {
  const site = new Site();
  const cancellation = new Cancellation();
  const first = site.sign();
  const second = assert.rejects(site.sign({ cancellation }), gone);
  const third = site.sign();
  cancellation.cancel(gone);
  await second;
  await site.answer();
  await first;
  assert.equal(site.held(), 1);
  await site.answer();
  assert.equal(await third, signature);
  assert.equal(await site.isIdle(), true);
});

test('one that is cancelled while a host does it keeps its place until the host has answered', async () => {
  const site = new Site();
  const cancellation = new Cancellation();
  const first = site.sign({ cancellation });
  const second = site.sign();
  cancellation.cancel(gone);
  await setImmediate();
  assert.deepEqual([site.held(), await site.isIdle()], [1, false]);
  await site.answer();
  await first;
  assert.equal(site.held(), 1, 'the second has it now');
  await site.answer();
  assert.equal(await second, signature);
  assert.equal(await site.isIdle(), true);
});

test('one that is cancelled while a host does it does not run again when that host ends', async () => {
  const site = new Site();
  const cancellation = new Cancellation();
  const cancelled = assert.rejects(site.sign({ cancellation }), gone);
  cancellation.cancel(gone);
  await site.crash();
  await cancelled;
  assert.deepEqual([site.held(), await site.isIdle()], [0, true]);
});

test('one that is cancelled while it waits for the login is told at once, and is not begun later', async () => {
  const site = new Site();
  site.availability.set('unlocking', 'somebody types the PIN');
  const cancellation = new Cancellation();
  const cancelled = assert.rejects(site.sign({ cancellation }), gone);
  cancellation.cancel(gone);
  await cancelled;
  assert.equal(await site.isIdle(), true);
  site.availability.set('unlocked', '');
  await setImmediate();
  assert.equal(site.held(), 0);
});

test('what was in flight when a host ended runs once more, one at a time, and others go on beside it', async () => {
  const site = new Site(3);
  const suspects = [site.sign(), site.sign(), site.sign()];
  await site.crash();
  assert.equal(site.held(), 1);
  const other = site.sign();
  await setImmediate();
  assert.equal(site.held(), 2);
  for (let i = 0; i < 4; i++) await site.answer();
  assert.deepEqual(await Promise.all([...suspects, other]), Array(4).fill(signature));
  assert.equal(await site.isIdle(), true);
});

test('one in whose time a second host ended fails, and the next suspect has its turn', async () => {
  const site = new Site(2);
  const first = assert.rejects(site.sign(), HostLost);
  const second = site.sign();
  await site.crash();
  assert.equal(site.held(), 1);
  await site.crash();
  await first;
  assert.equal(site.held(), 1);
  await site.answer();
  assert.equal(await second, signature);
});

test('what came first is held first when the only host ends', async () => {
  const site = new Site(2);
  const held: string[] = [];
  const sign = (name: string): Promise<unknown> =>
    site
      .sign({
        hold: (_refusal, wait) => {
          held.push(name);
          return wait();
        },
      })
      .catch(() => undefined);
  const all = ['1', '2', '3', '4'].map(sign);
  await setImmediate();
  assert.equal(site.held(), 2, 'two have a session each, two wait in turn');
  site.availability.set('unlocking', 'the token host restarts');
  await site.crash();
  assert.deepEqual(held, ['1', '2', '3', '4']);
  site.availability.set('locked', 'nobody has the PIN');
  await Promise.all(all);
});

test("a client's own repetition is not repeated", async () => {
  const site = new Site();
  const lost = assert.rejects(site.sign({ repeated: true }), HostLost);
  await site.crash();
  await lost;
  assert.equal(site.held(), 0);
});

test('one whose token leaves each time is tried four times in all', async () => {
  const site = new Site();
  let sent = 0;
  const failing = assert.rejects(site.sign({ sent: () => sent++ }), { code: 'TOKEN_ABSENT' });
  for (let i = 0; i < 10 && site.held() > 0; i++) {
    site.availability.set('absent', 'removed');
    site.availability.set('unlocked', '');
    await site.fail(new TokenFault({ code: 'TOKEN_ABSENT', message: 'removed' }));
  }
  assert.equal(sent, 4);
  await failing;
});

test('a login that is gone is told of, also by a key that asks for the PIN each time, which is never tried twice', async () => {
  const site = new Site();
  for (const alwaysAuthenticate of [false, true]) {
    const failing = assert.rejects(site.sign({ alwaysAuthenticate }), notLoggedIn);
    await setImmediate();
    await site.fail(notLoggedIn);
    // One that may be repeated goes to a host that has its login still, as far as anybody knows.
    for (let i = 0; i < 3 && !alwaysAuthenticate; i++) await site.fail(notLoggedIn);
    await failing;
    assert.equal(site.held(), 0);
  }
  assert.deepEqual(site.told, [...Array<string>(3).fill('login lost'), 'PIN', 'login lost']);
});

test('keys that ask for the PIN each time have one place, beside those of all others', async () => {
  const site = new Site();
  const asking = [1, 2].map(() => site.sign({ alwaysAuthenticate: true }));
  const other = site.sign();
  await setImmediate();
  assert.equal(site.held(), 2);
  for (let i = 0; i < 3; i++) await site.answer();
  await Promise.all([...asking, other]);
  assert.deepEqual(site.told, ['PIN', 'PIN']);
});

test('a key that is not what it was is told of', async () => {
  const site = new Site();
  for (const code of ['NOT_FOUND', 'KEY_MISMATCH', 'DECRYPT_FAILED'] as const) {
    const failing = assert.rejects(site.sign(), { code });
    await setImmediate();
    await site.fail(new TokenFault({ code, message: '' }));
    await failing;
  }
  assert.deepEqual(site.told, ['key changed', 'key changed']);
});
