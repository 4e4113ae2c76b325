/** What was given waits until it is used, and no longer. */
import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { setTimeout as delay } from 'node:timers/promises';
import { Gathering } from '@keyagent/agent/unlock/card/gathering.js';

const ops1 = { label: 'ops1', serial: '01' };
const ops2 = { label: 'ops2', serial: '02' };
const ops3 = { label: 'ops3', serial: '03' };

function share(): Buffer {
  return Buffer.alloc(97, 7);
}

function isWiped(bytes: Buffer): boolean {
  return bytes.every((byte) => byte === 0);
}

describe('a gathering', () => {
  it('is complete with the last card, and says so to that one only', async () => {
    const gathering = new Gathering(2);
    assert.equal(await gathering.add(ops1, () => Promise.resolve(share())), false);
    assert.deepEqual(gathering.progress, { given: 1, needed: 2 });
    assert.equal(await gathering.add(ops2, () => Promise.resolve(share())), true);
    gathering.end();
  });

  it('wipes what it holds when it ends, and what comes later', async () => {
    const gathering = new Gathering(2);
    const [early, late] = [share(), share()];
    await gathering.add(ops1, () => Promise.resolve(early));
    let answer: (bytes: Buffer) => void = () => assert.fail();
    const adding = gathering.add(ops2, () => new Promise((resolve) => (answer = resolve)));
    gathering.end();
    answer(late);
    await assert.rejects(adding, /the cards given so far are forgotten: the token was locked/);
    assert.deepEqual([isWiped(early), isWiped(late), gathering.ended], [true, true, true]);
    await assert.rejects(
      gathering.add(ops3, () => assert.fail('no card is asked any more')),
      /begin again/,
    );
  });

  it('ends by itself when no further card comes', async () => {
    const gathering = new Gathering(2, 20);
    const given = share();
    await gathering.add(ops1, () => Promise.resolve(given));
    while (!gathering.ended) await delay(1);
    assert.ok(isWiped(given));
  });

  it('asks a card at one terminal at a time, and again after a refusal', async () => {
    const gathering = new Gathering(2);
    let refuse: (error: Error) => void = () => assert.fail();
    const first = gathering.add(ops1, () => new Promise((_, reject) => (refuse = reject)));
    await assert.rejects(
      gathering.add(ops1, () => assert.fail('the card is not asked twice')),
      /card ops1 is being given at another terminal/,
    );
    refuse(new Error('wrong PIN'));
    await assert.rejects(first, /wrong PIN/);
    assert.equal(await gathering.add(ops1, () => Promise.resolve(share())), false);
    gathering.end();
  });

  it('takes no more than it needs: what two terminals give at once is wiped for one of them', async () => {
    const gathering = new Gathering(1);
    const surplus = share();
    const both = await Promise.allSettled([
      gathering.add(ops1, () => Promise.resolve(share())),
      gathering.add(ops2, () => Promise.resolve(surplus)),
    ]);
    assert.deepEqual(
      both.map(({ status }) => status),
      ['fulfilled', 'rejected'],
    );
    assert.ok(isWiped(surplus));
    gathering.end();
  });
});
