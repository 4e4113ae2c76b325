/** The sealed PIN and its file, with cards whose keys the test knows, and once with real ones. */
import assert from 'node:assert/strict';
import { chmodSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { after, before, describe, it } from 'node:test';
import { CardSetFile, decodeCardSet, encodeCardSet } from '@keyagent/agent/unlock/card/card-set-file.js';
import {
  sealPin,
  unsealPin,
  type CardSet,
  type EnrolledCard,
  type SealedPin,
} from '@keyagent/agent/unlock/card/sealed-pin.js';
import { createHash } from 'node:crypto';
import { AgentError } from '@keyagent/protocol';
import { choices, KnownCard, TokenCards } from './cards.js';

const pin = Buffer.from('7412-pin');
const known = [1, 2, 3].map((number) => new KnownCard(number));
const set: CardSet = { token: 'web', serial: '1a2b', quorum: 2, cards: known };

function isRefusal(error: unknown): boolean {
  return error instanceof AgentError && error.code === 'CONFIGURATION';
}

function openAll(sealed: SealedPin): Buffer[] {
  return sealed.cards.map((card, index) => known[index]?.open(card) ?? assert.fail());
}

function plain({ label, serial, spki }: EnrolledCard): EnrolledCard {
  return { label, serial, spki };
}

describe('three of five real cards', () => {
  const cards = new TokenCards();
  const labels = ['ops1', 'ops2', 'ops3', 'ops4', 'ops5'];
  let sealed: SealedPin;
  let shares: Buffer[];
  before(async () => {
    for (const label of labels) cards.add(label, 'rsa:2048');
    const enrolled = await Promise.all(labels.map((label) => cards.enrol(label)));
    sealed = await sealPin({ token: 'web', serial: '1a2b', quorum: 3, cards: enrolled }, pin);
    shares = await Promise.all(sealed.cards.map((card) => cards.open(card)));
  });
  after(() => {
    cards.hsm.remove();
  });

  it('every combination of three, and of more, opens the PIN', async () => {
    const three = choices(shares, 3);
    assert.equal(three.length, 10);
    for (const some of [...three, ...choices(shares, 4), shares]) {
      assert.deepEqual(await unsealPin(sealed, some), pin);
    }
  });

  it('no combination of two, and no single card, does', async () => {
    const two = choices(shares, 2);
    assert.equal(two.length, 10);
    for (const some of [...two, ...choices(shares, 1)])
      await assert.rejects(unsealPin(sealed, some), isRefusal);
  });

  it('the shares of one sharing fit to no other, of the same PIN and the same cards', async () => {
    const again = await sealPin(sealed, pin);
    await assert.rejects(unsealPin(again, shares.slice(0, 3)), isRefusal);
    const mixed = [
      ...shares.slice(0, 2),
      ...(await Promise.all(again.cards.slice(2).map((card) => cards.open(card)))),
    ];
    await assert.rejects(unsealPin(again, mixed), isRefusal);
  });
});

describe('a sealed PIN', () => {
  it('opens again for every length of a PIN, all of which look alike', async () => {
    for (const length of [1, 8, 256]) {
      const long = Buffer.alloc(length, 0x39);
      const sealed = await sealPin(set, long);
      assert.equal(sealed.ciphertext.length, 258);
      assert.deepEqual(await unsealPin(sealed, openAll(sealed)), long);
    }
    for (const length of [0, 257]) await assert.rejects(sealPin(set, Buffer.alloc(length)), /1 to 256 bytes/);
  });

  it('shares nothing with another one of the same PIN', async () => {
    const [one, other] = [await sealPin(set, pin), await sealPin(set, pin)];
    for (const field of ['nonce', 'ciphertext', 'tag'] as const)
      assert.notDeepEqual(one[field], other[field]);
    one.cards.forEach(({ share }, index) => assert.notDeepEqual(share, other.cards[index]?.share));
    assert.equal(encodeCardSet(one).includes(pin), false);
  });

  it('a quorum of one, and of all', async () => {
    for (const quorum of [1, 3]) {
      const sealed = await sealPin({ ...set, quorum }, pin);
      assert.deepEqual(await unsealPin(sealed, openAll(sealed).slice(0, quorum)), pin);
    }
    const all = await sealPin({ ...set, quorum: 3 }, pin);
    await assert.rejects(unsealPin(all, openAll(all).slice(0, 2)), isRefusal);
  });

  it('no quorum that cannot be', async () => {
    for (const quorum of [0, 4]) {
      await assert.rejects(sealPin({ ...set, quorum }, pin), /the quorum is 1 to 3, the number of cards/);
    }
    await assert.rejects(sealPin({ ...set, cards: [] }, pin), /1 to 64 cards/);
  });

  it('is bound to token, serial, quorum, cards and their order', async () => {
    const sealed = await sealPin(set, pin);
    const shares = openAll(sealed);
    const [first, ...others] = sealed.cards;
    assert.ok(first !== undefined);
    const changes: Partial<SealedPin>[] = [
      { token: 'other' },
      { serial: '1a2c' },
      { quorum: 1 },
      { cards: others },
      { cards: [...others, first] },
      { cards: [{ ...first, label: 'opsX' }, ...others] },
      { cards: [{ ...first, serial: '' }, ...others] },
    ];
    for (const change of changes) {
      await assert.rejects(unsealPin({ ...sealed, ...change }, shares), isRefusal, JSON.stringify(change));
    }
    assert.deepEqual(await unsealPin(sealed, shares), pin);
  });
});

describe('the file of a card set', () => {
  const directory = mkdtempSync(path.join(tmpdir(), 'keyagent-cards-'));
  const file = new CardSetFile(directory, 'web');
  let sealed: SealedPin;
  before(async () => {
    sealed = await sealPin({ ...set, cards: known.map(plain) }, pin);
  });
  after(() => {
    rmSync(directory, { recursive: true });
  });

  it('has the same set again, readable by its owner only', () => {
    assert.equal(file.read(), undefined);
    assert.throws(
      () => file.require(),
      /no operator cards are enrolled for web; run "keyagent card enrol web/,
    );
    file.write(sealed);
    assert.deepEqual(file.read(), sealed);
    assert.match(
      readFileSync(file.path, 'utf8'),
      /^\{"format":"keyagent card set","version":1,"token":"web",.*\}\n$/,
    );
  });

  it('every changed byte is noticed before any card is asked, and so is one more or less', () => {
    const content = encodeCardSet(sealed);
    for (let at = 0; at < content.length; at++) {
      for (const bit of [0x01, 0x20, 0x80]) {
        const changed = Buffer.from(content);
        changed[at] = (changed[at] ?? 0) ^ bit;
        assert.throws(() => decodeCardSet(changed, 'the file'), isRefusal, `byte ${at}`);
      }
    }
    for (const other of [
      content.subarray(1),
      content.subarray(0, -1),
      Buffer.concat([content, Buffer.of(0x20)]),
    ]) {
      assert.throws(() => decodeCardSet(other, 'the file'), isRefusal);
    }
  });

  it('who computes the digest anew still changes nothing unnoticed: the PIN does not open', async () => {
    const shares = openAll(sealed);
    const content = encodeCardSet(sealed).toString();
    const end = content.lastIndexOf(',"digest"');
    let decoded = 0;
    for (let at = 0; at < end; at++) {
      const character = content.charAt(at);
      const other = /[0-9]/.test(character) ? (character === '2' ? '3' : '2') : character === 'A' ? 'B' : 'A';
      const body = `${content.slice(0, at)}${other}${content.slice(at + 1, end)}`;
      const digest = createHash('sha256').update(`${body}}`).digest('hex');
      let changed: SealedPin;
      try {
        changed = decodeCardSet(Buffer.from(`${body},"digest":"${digest}"}\n`), 'the file');
      } catch (error) {
        assert.ok(isRefusal(error));
        continue;
      }
      decoded++;
      await assert.rejects(unsealPin(changed, shares), isRefusal, `character ${at}`);
    }
    assert.ok(decoded > 2000, `only ${decoded} of these changes passed the file's own form`);
  });

  it('that others could write, or that is of a later version, is refused', () => {
    file.write(sealed);
    chmodSync(file.path, 0o620);
    assert.throws(() => file.read(), /mode 0620 lets others write to it; chmod go-w it/);
    chmodSync(file.path, 0o600);
    chmodSync(directory, 0o777);
    assert.throws(() => file.read(), /mode 0777 lets others write to it/);
    chmodSync(directory, 0o700);
    writeFileSync(file.path, '{"format":"keyagent card set","version":2}\n');
    assert.throws(() => file.read(), /is of a later version of keyagent \(format 2\)/);
  });
});
