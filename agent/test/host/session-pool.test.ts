import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { AgentError } from '@keyagent/protocol';
import { tokenFailure } from '@keyagent/agent/host/ckr.js';
import { SessionPool, type Session } from '@keyagent/agent/host/session-pool.js';

const ckrSessionCount = 0xb1;
const ckrDeviceError = 0x30;

/** A token with room for `room` sessions, whose handles are 1, 2, 3, ... */
class FakeToken {
  readonly open: number[] = [];
  readonly closed: number[] = [];
  room: number;
  failure: number | undefined;
  #next = 1;

  constructor(room = 100) {
    this.room = room;
  }

  get calls(): { open: () => Buffer; close: (handle: Buffer) => void } {
    return {
      open: () => {
        if (this.failure !== undefined) throw tokenFailure(this.failure);
        if (this.open.length >= this.room) throw tokenFailure(ckrSessionCount);
        this.open.push(this.#next);
        return Buffer.of(this.#next++);
      },
      close: (handle) => {
        const at = this.open.indexOf(handle[0] ?? 0);
        if (at < 0) throw tokenFailure(0xb3);
        this.closed.push(...this.open.splice(at, 1));
      },
    };
  }
}

function handleOf({ handle }: Session): number | undefined {
  return handle[0];
}

void describe('a session pool', { timeout: 10_000 }, () => {
  test('opens sessions as they are needed, and reuses them', async () => {
    const token = new FakeToken();
    const pool = new SessionPool(token.calls, 4);
    const first = await pool.take();
    pool.return(first);
    assert.equal(await pool.take(), first);
    assert.equal(handleOf(await pool.take()), 2);
    assert.deepEqual(token.open, [1, 2]);
    assert.equal(pool.busy, 2);
  });

  test('makes callers beyond the limit wait, and serves them in order', async () => {
    const token = new FakeToken();
    const pool = new SessionPool(token.calls, 1);
    const session = await pool.take();
    const order: string[] = [];
    const waiting = ['first', 'second'].map(async (name) => {
      const mine = await pool.take();
      order.push(name);
      pool.return(mine);
    });
    pool.return(session);
    await Promise.all(waiting);
    assert.deepEqual(order, ['first', 'second']);
    assert.deepEqual(token.open, [1]);
  });

  test('learns a lower limit from the token, and serves everybody within it', async () => {
    const token = new FakeToken(2);
    const pool = new SessionPool(token.calls, 8);
    const [a] = [await pool.take(), await pool.take()];
    const third = pool.take();
    assert.equal(pool.limit, 2);
    pool.return(a);
    assert.equal(await third, a);
  });

  test('says BUSY when the token has not even one session', async () => {
    const pool = new SessionPool(new FakeToken(0).calls, 8);
    await assert.rejects(pool.take(), { code: 'BUSY', ckr: 'CKR_SESSION_COUNT' });
  });

  test('reports any other failure to whoever asked', async () => {
    const token = new FakeToken();
    const pool = new SessionPool(token.calls, 8);
    token.failure = ckrDeviceError;
    await assert.rejects(pool.take(), { code: 'TOKEN_ERROR', ckr: 'CKR_DEVICE_ERROR' });
  });

  test('bounds the line', async () => {
    const pool = new SessionPool(new FakeToken().calls, 1);
    await pool.take();
    const waiting = Array.from({ length: 1024 }, () => pool.take());
    await assert.rejects(pool.take(), { code: 'BUSY' });
    const refusal = new AgentError('LOCKED', 'over');
    const drained = pool.drain(refusal);
    for (const waiter of waiting) await assert.rejects(waiter, refusal);
    assert.equal(pool.busy, 1);
    void drained;
  });

  test('never hands out a discarded session again, and gives its place to who waits', async () => {
    const token = new FakeToken();
    const pool = new SessionPool(token.calls, 1);
    const bad = await pool.take();
    const next = pool.take();
    pool.discard(bad);
    assert.equal(handleOf(await next), 2);
    assert.deepEqual(token.closed, [1]);
  });

  test('discards a session that came back as suspect', async () => {
    const token = new FakeToken();
    const pool = new SessionPool(token.calls, 2);
    const session = await pool.take();
    session.suspect = true;
    pool.return(session);
    assert.deepEqual(token.closed, [1]);
    assert.notEqual(handleOf(await pool.take()), 1);
  });

  test('opens a successor before it closes the last session, for the login lives in it', async () => {
    const token = new FakeToken();
    const { open, close } = token.calls;
    const log: string[] = [];
    const calls = {
      open: () => {
        log.push('open');
        return open();
      },
      close: (handle: Buffer) => {
        log.push('close');
        close(handle);
      },
    };
    const pool = new SessionPool(calls, 4);
    pool.discard(await pool.take());
    assert.deepEqual(log, ['open', 'open', 'close']);
  });

  test('goes on with one session where the token has room for no successor', async () => {
    const token = new FakeToken(1);
    const pool = new SessionPool(token.calls, 4);
    pool.discard(await pool.take());
    assert.deepEqual(token.open, []);
    assert.equal(handleOf(await pool.take()), 2);
  });

  test('tells waiters when the last session is gone and no other opens', async () => {
    const token = new FakeToken();
    const pool = new SessionPool(token.calls, 1);
    const session = await pool.take();
    const waiting = pool.take();
    token.failure = ckrDeviceError;
    pool.discard(session);
    await assert.rejects(waiting, { ckr: 'CKR_DEVICE_ERROR' });
  });

  test('renew opens anew before it closes, and closes what is in use when it comes back', async () => {
    const token = new FakeToken();
    const pool = new SessionPool(token.calls, 3);
    const [inUse, idle] = [await pool.take(), await pool.take()];
    pool.return(idle);
    pool.renew();
    assert.deepEqual(token.open, [1, 3]);
    assert.deepEqual(token.closed, [2]);
    assert.equal(handleOf(await pool.take()), 3);
    pool.return(inUse);
    assert.deepEqual(token.open, [3]);
    assert.notEqual(inUse.generation, pool.generation);
  });

  test('a waiter gets a fresh session when a stale one comes back', async () => {
    const token = new FakeToken();
    const pool = new SessionPool(token.calls, 1);
    const stale = await pool.take();
    const waiting = pool.take();
    pool.drop();
    pool.return(stale);
    assert.equal(handleOf(await waiting), 2);
  });

  test('does not close a handle that the token gave away again', async () => {
    const closed: number[] = [];
    const pool = new SessionPool(
      { open: () => Buffer.of(7), close: (handle) => closed.push(handle[0] ?? 0) },
      2,
    );
    const lost = await pool.take();
    pool.renew();
    const fresh = await pool.take();
    pool.discard(lost);
    assert.deepEqual(closed, []);
    pool.discard(fresh);
  });

  test('drain refuses newcomers, and settles when the last session comes back', async () => {
    const token = new FakeToken();
    const pool = new SessionPool(token.calls, 2);
    const session = await pool.take();
    let isDrained = false;
    const drained = pool.drain(new AgentError('LOCKED', 'being locked')).then(() => (isDrained = true));
    await assert.rejects(pool.take(), { code: 'LOCKED' });
    assert.equal(isDrained, false);
    pool.return(session);
    await drained;
    pool.reopen();
    pool.drop();
    assert.deepEqual(token.open, []);
    assert.equal(handleOf(await pool.take()), 2);
  });
});
