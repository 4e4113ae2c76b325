/** Operator cards on real tokens, from the command line to the sealed file: K of N unlock, and nothing less does. */
import assert from 'node:assert/strict';
import { chmodSync, existsSync, readFileSync, statSync, writeFileSync } from 'node:fs';
import { test } from 'node:test';
import { auditOf } from './support/audit.js';
import { deployCards, type CardDeployment } from './support/card-set.js';
import { cleanupAfter } from './support/cleanup.js';
import { keyagentCommand } from './support/paths.js';
import { childrenOf, scanMemory } from './support/proc.js';
import { Terminal } from './support/terminal.js';
import { waitFor } from './support/wait.js';

async function assertSigns({ agent }: CardDeployment): Promise<void> {
  const args = ['sign', '--key', 'pkcs11:token=web;object=www', '--alg', 'ecdsa-sha256'];
  const { status, stderr } = await agent.keyagent(args, { input: 'message' });
  assert.equal(status, 0, stderr);
}

test('three of five cards unlock the token, given at one terminal or at three', async (t) => {
  const cards = await deployCards(cleanupAfter(t), 5);
  const { agent } = cards;
  const nothing = await cards.unlock([1]);
  assert.deepEqual(
    [nothing.status, nothing.stderr],
    [
      65,
      'keyagent: no operator cards are enrolled for web; run "keyagent card enrol web --cards N --quorum K"\n',
    ],
  );

  const enrolled = await cards.enrol();
  assert.equal(enrolled.status, 0, enrolled.stderr);
  assert.equal(enrolled.stdout, '5 cards are enrolled for web; 3 of them unlock it\n');
  // The PIN was proved in a process of its own.
  assert.equal(await agent.tokenState('web'), 'locked');
  assert.equal(statSync(cards.file).mode & 0o777, 0o600);

  const before = { token: agent.calls('C_Login'), cards: cards.calls('C_Login') };
  const unlocked = await cards.unlock([1, 3, 5]);
  assert.deepEqual([unlocked.status, unlocked.stdout], [0, 'web unlocked\n'], unlocked.stderr);
  assert.equal(unlocked.stderr, 'card ops1: 1 of 3\ncard ops3: 2 of 3\ncard ops5: 3 of 3\n');
  await assertSigns(cards);
  assert.deepEqual(
    { token: agent.calls('C_Login') - before.token, cards: cards.calls('C_Login') - before.cards },
    { token: 1, cards: 3 },
  );
  const again = await cards.unlock([1, 3, 5]);
  assert.deepEqual([again.status, again.stdout], [0, 'web was unlocked already\n']);

  await agent.mustKeyagent(['lock']);
  for (const [given, number] of [
    [1, 5],
    [2, 2],
  ] as const) {
    const operator = await cards.unlock([number]);
    const more = given === 1 ? '2 more cards' : 'one more card';
    assert.equal(operator.status, 75, operator.stderr);
    assert.ok(
      operator.stderr.endsWith(
        `card ops${number}: ${given} of 3\nkeyagent: web needs ${more}; give them within ten minutes, at any terminal\n`,
      ),
      operator.stderr,
    );
    assert.equal(await agent.tokenState('web'), 'locked');
  }
  assert.match(await agent.mustKeyagent(['card', 'list', 'web']), /ops2 +[0-9a-f]{16} +given\n/);
  const last = await cards.unlock([4]);
  assert.deepEqual([last.status, last.stdout], [0, 'web unlocked\n'], last.stderr);
  assert.equal(last.stderr, '2 of 3 cards were given before\ncard ops4: 3 of 3\n');
  assert.equal((await agent.mustKeyagent(['card', 'list', 'web'])).includes('given'), false);

  const log = agent.daemon.log + readFileSync(agent.auditFile, 'utf8') + readFileSync(cards.file, 'utf8');
  for (const { pin } of [cards.token, ...cards.cards]) assert.equal(log.includes(pin), false);
});

test('cards that were given are forgotten at lock; two are not three', async (t) => {
  const cards = await deployCards(cleanupAfter(t), 3);
  await cards.enrol(3);
  await cards.unlock([1, 2]);
  await cards.agent.mustKeyagent(['lock']);
  const third = await cards.unlock([3]);
  assert.match(third.stderr, /^card ops3: 1 of 3\n.*web needs 2 more cards/);
  assert.equal(await cards.agent.tokenState('web'), 'locked');
  const duplicate = await cards.unlock([3]);
  assert.deepEqual(
    [duplicate.status, duplicate.stderr.split('\n')[1]],
    [65, 'keyagent: card ops3 was given already; give another one'],
  );
});

test('cards that were given for a removal are forgotten when the token locks by itself', async (t) => {
  const cards = await deployCards(cleanupAfter(t), 3);
  const { agent } = cards;
  await cards.enrol(2);
  await agent.unlock();
  const enrolled = readFileSync(cards.file);
  const remove = ['card', 'remove', 'web', 'ops3', '--stdin'];
  const give = (number: number) =>
    agent.keyagent([...remove, ...cards.options(number)], { input: cards.pins(number) });
  assert.match((await give(1)).stderr, /^card ops1: 1 of 2\n/);
  await agent.mustKeyagent(['unlock', '--for', '1ms']);
  await waitFor('the token locks', async () => (await agent.tokenState('web')) === 'locked');
  const second = await give(2);
  assert.deepEqual([second.status, second.stderr.split('\n')[0]], [75, 'card ops2: 1 of 2']);
  assert.deepEqual(readFileSync(cards.file), enrolled);
});

test('what operators do with cards is in the audit log: who, which card, what came of it', async (t) => {
  const cards = await deployCards(cleanupAfter(t), 4);
  const { agent } = cards;
  await cards.enrol(2);
  await agent.keyagent(['unlock', 'web', '--source', 'card', '--stdin', '--card', 'ops1'], {
    input: 'wrong\n',
  });
  await cards.unlock([1, 2]);
  const remove = (card: string, ...how: string[]) => ['card', 'remove', 'web', card, '--stdin', ...how];
  assert.equal((await agent.keyagent(remove('ops4', '--pin'), { input: 'wrong\n' })).status, 77);
  await agent.mustKeyagent(remove('ops4', '--pin'), { input: cards.token.pin });
  await agent.mustKeyagent(remove('ops3', ...cards.options(1, 2)), { input: cards.pins(1, 2) });
  const lines = auditOf(agent)
    .filter(({ event }) => event.startsWith('card-') || event === 'unlock')
    .map(({ event, uid, token, source, cards: given, outcome }) => {
      const labels =
        given?.map(({ label, serial }) => (/^[0-9a-f]{16}$/.test(serial) ? label : 'no serial')) ?? [];
      return [event, uid, token, source, labels.join(), outcome].join(' ');
    });
  const uid = process.geteuid?.();
  assert.deepEqual(lines, [
    `card-give ${uid} web  ops1 ok`,
    `card-give ${uid} web  ops2 ok`,
    `card-give ${uid} web  ops3 ok`,
    `card-give ${uid} web  ops4 ok`,
    `card-enrol ${uid} web  ops1,ops2,ops3,ops4 ok`,
    `card-give ${uid} web  ops1 PIN_INCORRECT`,
    `card-give ${uid} web  ops1 ok`,
    `card-give ${uid} web  ops2 ok`,
    `unlock ${uid} web card ops1,ops2 ok`,
    `card-remove ${uid} web  ops4 PIN_INCORRECT`,
    `card-remove ${uid} web  ops4 ok`,
    `card-give ${uid} web  ops1 ok`,
    `card-give ${uid} web  ops2 ok`,
    `card-remove ${uid} web  ops3 ok`,
  ]);
});

test('a wrong card PIN costs one C_Login on that card; what is left is told, and --force is asked for', async (t) => {
  const cards = await deployCards(cleanupAfter(t), 2);
  await cards.enrol(1);
  const wrong = ['unlock', 'web', '--source', 'card', '--stdin', '--card', 'ops1'];
  const before = cards.calls('C_Login');
  const refused = await cards.agent.keyagent(wrong, { input: 'wrong\n' });
  assert.equal(refused.status, 77);
  assert.equal(
    refused.stderr,
    'keyagent: card ops1 refused the PIN; it counts wrong PINs, and few tries are left\n',
  );
  assert.equal(cards.calls('C_Login'), before + 1);

  cards.counting.setFaults('C_GetTokenInfo flags|=0x20000');
  const final = await cards.unlock([1]);
  assert.deepEqual(
    [final.status, final.stderr],
    [77, 'keyagent: one wrong PIN now locks card ops1; say --force if you are sure\n'],
  );
  assert.equal(cards.calls('C_Login'), before + 1);
  const forced = await cards.unlock([1], '--force');
  assert.equal(forced.status, 0, forced.stderr);
  assert.equal(cards.calls('C_Login'), before + 2);
});

test('a login that somebody else has on the card proves no PIN, and a card that left is named', async (t) => {
  const cards = await deployCards(cleanupAfter(t), 1);
  await cards.enrol(1);
  cards.counting.setFaults('C_Login rv=0x100');
  const already = await cards.unlock([1]);
  assert.match(already.stderr, /somebody else is logged in to card ops1, so this PIN is not proved/);
  assert.equal(await cards.agent.tokenState('web'), 'locked');
  cards.counting.setFaults('C_Login rv=0x32');
  const gone = await cards.unlock([1]);
  assert.deepEqual(
    [gone.status, gone.stderr],
    [75, 'keyagent: card ops1 is gone; insert it and try again\n'],
  );
  cards.counting.setFaults();
  assert.equal((await cards.unlock([1])).status, 0);
});

test('a card with a PIN pad of its own is asked with a NULL PIN', async (t) => {
  const cards = await deployCards(cleanupAfter(t), 1);
  const [card] = cards.cards;
  assert.ok(card !== undefined);
  const pad = { ...cards.counting.tokenSettings.env, KEYAGENT_TEST_PIN: card.pin };
  await cards.setReaders({ ...cards.readerOf(1), env: pad });
  cards.counting.setFaults('C_Login require_null=1', 'C_GetTokenInfo flags|=0x100');
  const enrolled = await cards.agent.keyagent(
    ['card', 'enrol', 'web', '--cards', '1', '--quorum', '1', '--stdin'],
    { input: `${cards.token.pin}\n` },
  );
  assert.equal(enrolled.status, 0, enrolled.stderr);
  const unlocked = await cards.agent.keyagent(['unlock', 'web', '--source', 'card', '--stdin']);
  assert.deepEqual(
    [unlocked.status, unlocked.stderr],
    [0, 'enter the PIN of card ops1 on its reader\ncard ops1: 1 of 1\n'],
  );
});

test('the reader says what is wrong: none configured, no module, several cards, a foreign one', async (t) => {
  const cards = await deployCards(cleanupAfter(t), 3);
  const { agent } = cards;
  await cards.setReaders(cards.readerOf(1));
  const enrol = ['card', 'enrol', 'web', '--cards', '1', '--quorum', '1', '--stdin'];
  // The only card of the only reader need not be named.
  const first = await agent.keyagent(enrol, { input: `${cards.card(1).pin}\n${cards.token.pin}\n` });
  assert.equal(first.status, 0, first.stderr);

  const unlock = ['unlock', 'web', '--source', 'card', '--stdin'];
  await cards.setReaders({ ...cards.readerOf(1), module: '/nonexistent.so' });
  const noModule = await agent.keyagent(unlock);
  assert.equal(noModule.status, 78);
  assert.match(noModule.stderr, /card reader desk1: cannot load \/nonexistent\.so as a PKCS#11 module/);
  await cards.setReaders(cards.readerOf(1));
  const { module } = cards.counting.tokenSettings;
  chmodSync(module, 0o757);
  const unsafe = await agent.keyagent(unlock);
  assert.equal(unsafe.status, 78);
  assert.match(unsafe.stderr, /card reader desk1: \S+\.so: mode 0757 lets others write to it; chmod go-w it/);
  chmodSync(module, 0o755);
  await cards.setReaders();
  const noReader = await agent.keyagent(unlock);
  assert.match(noReader.stderr, /no \[\[card_reader\]\] is configured; add one with name and module/);
  assert.equal(noReader.status, 78);
  await cards.setReaders(cards.readerOf(2));
  const foreign = await agent.keyagent(unlock);
  assert.match(foreign.stderr, /insert one of ops1 \(\w+\); the readers show only ops2 \(\w+\)/);
  assert.equal(foreign.status, 75);
  const named = await agent.keyagent([...unlock, '--card', 'ops2']);
  assert.match(named.stderr, /card ops2 \(serial \w+\) is not of the set of web; its cards: ops1/);
  assert.equal(named.status, 65);

  await cards.setReaders(cards.reader);
  const several = await agent.keyagent(enrol);
  assert.match(several.stderr, /which card\? say --card with its label or serial: ops/);
  assert.equal(several.status, 65);
  const itself = await agent.keyagent([...enrol, '--card', 'web'], { input: 'x\n' });
  assert.match(itself.stderr, /no reader shows card web; insert it/);
  // A look and a visit leave nothing behind.
  assert.equal(cards.calls('C_Login'), cards.calls('C_Logout'));
});

test('nothing is written unless every card decrypts and the PIN is the token’s', async (t) => {
  const cards = await deployCards(cleanupAfter(t), 2);
  const { agent, hsm } = cards;
  await hsm.initToken('empty', 'empty-pin');
  const enrol = (...more: string[]) => [
    'card',
    'enrol',
    'web',
    '--cards',
    '2',
    '--quorum',
    '2',
    '--stdin',
    ...more,
  ];
  const empty = await agent.keyagent(enrol('--card', 'empty'), { input: 'empty-pin\n' });
  assert.match(
    empty.stderr,
    /card empty: it has no RSA key of 2048 to 4096 bits that decrypts; make one on it/,
  );

  const before = agent.calls('C_Login');
  const wrong = await agent.keyagent(enrol(...cards.options(1, 2)), { input: `${cards.pins(1, 2)}wrong\n` });
  assert.equal(wrong.status, 77);
  assert.match(wrong.stderr, /web refused the PIN; it counts wrong PINs/);
  assert.equal(agent.calls('C_Login'), before + 1);
  assert.equal(existsSync(cards.file), false);
  // The cards wait: only the PIN is asked for again.
  const right = await agent.keyagent(enrol(), { input: `${cards.token.pin}\n` });
  assert.equal(right.status, 0, right.stderr);
  assert.equal(right.stderr, '2 of 2 cards were given before\n');
  assert.equal((await cards.unlock([1, 2])).status, 0);
});

test('a card is removed by a quorum, or with the PIN; the old sharing fits no more', async (t) => {
  const cards = await deployCards(cleanupAfter(t), 4);
  const { agent } = cards;
  await cards.enrol(2);
  const old = readFileSync(cards.file);
  const remove = (card: string, ...more: string[]) => ['card', 'remove', 'web', card, '--stdin', ...more];
  const byQuorum = await agent.keyagent(remove('ops1', ...cards.options(2, 3)), { input: cards.pins(2, 3) });
  assert.equal(byQuorum.status, 0, byQuorum.stderr);
  assert.equal(byQuorum.stdout, 'ops1 is no longer a card of web; 2 of the other 3 unlock it\n');
  assert.match(byQuorum.stderr, /only a new PIN of web, enrolled again, ends that\n$/);
  const gone = await cards.unlock([1]);
  assert.match(
    gone.stderr,
    /the set of web has no card ops1|card ops1 \(serial \w+\) is not of the set of web/,
  );

  const byPin = await agent.keyagent(remove('ops2', '--pin'), { input: `${cards.token.pin}\n` });
  assert.equal(byPin.status, 0, byPin.stderr);
  assert.equal(await agent.tokenState('web'), 'locked');
  const tooFew = await agent.keyagent(remove('ops3', '--pin'), { input: `${cards.token.pin}\n` });
  assert.match(tooFew.stderr, /without ops3 1 cards remain, and it takes 2; enrol a new set/);
  assert.equal((await cards.unlock([3, 4])).status, 0);
  await agent.mustKeyagent(['lock']);

  // As the warning says: the old file still opens with the old cards.
  writeFileSync(cards.file, old);
  assert.equal((await cards.unlock([1, 2])).status, 0);
});

test('a file that was changed, that others can write, or that is for another token opens nothing', async (t) => {
  const cards = await deployCards(cleanupAfter(t), 1);
  const { agent } = cards;
  await cards.enrol(1);
  const good = readFileSync(cards.file);
  const before = cards.calls('C_Login');
  writeFileSync(cards.file, good.toString().replace('"quorum":1', '"quorum":2'));
  const changed = await cards.unlock([1]);
  assert.deepEqual(
    [changed.status, changed.stderr.includes('was changed or is damaged; restore it')],
    [78, true],
  );
  writeFileSync(cards.file, good);
  chmodSync(cards.file, 0o666);
  const writable = await cards.unlock([1]);
  assert.deepEqual([writable.status, writable.stderr.includes('mode 0666 lets others write')], [78, true]);
  chmodSync(cards.file, 0o600);

  agent.counting?.setFaults('C_GetTokenInfo serial=OTHER');
  await agent.daemon.stop();
  await agent.start();
  const other = await cards.unlock([1]);
  assert.equal(other.status, 77);
  assert.match(other.stderr, /the sealed PIN is for the web with serial \w+, and this one has OTHER/);
  assert.equal(cards.calls('C_Login'), before);
});

test('neither the PIN that the cards hold nor one of theirs stays in memory when retain_pin is false', async (t) => {
  const cards = await deployCards(cleanupAfter(t), 2, {
    tokenSettings: { unlock: ['card', 'prompt'], retain_pin: false },
  });
  const { agent } = cards;
  await cards.enrol(2);
  const unlocked = await cards.unlock([1, 2]);
  assert.equal(unlocked.status, 0, unlocked.stderr);
  const pins = [cards.token, ...cards.cards].map(({ label, pin }) => [label, Buffer.from(pin)]);
  for (const pid of [agent.daemon.pid, ...childrenOf(agent.daemon.pid)]) {
    assert.deepEqual([...scanMemory(pid, Object.fromEntries(pins) as Record<string, Buffer>)], []);
  }
});

test('cards are never asked without hands, and status says what they wait for', async (t) => {
  const cards = await deployCards(cleanupAfter(t), 1);
  const { agent } = cards;
  await cards.enrol(1);
  const before = cards.calls('C_Login');
  await agent.daemon.stop();
  await agent.start();
  assert.equal(await agent.settled('web'), 'locked');
  assert.match(
    await agent.mustKeyagent(['status']),
    /^web +card +\S+Z +waits for 1 of 1 cards; run "keyagent unlock web --source card"$/m,
  );
  assert.equal(cards.calls('C_Login'), before);
});

test('a PIN that was changed since is refused once, and the advice is to enrol again', async (t) => {
  const cards = await deployCards(cleanupAfter(t), 1);
  const { agent, hsm, token } = cards;
  await cards.enrol(1);
  await agent.daemon.stop();
  await hsm.pkcs11Tool(token, '--change-pin', '--new-pin', '8520-new');
  await agent.start();
  const before = agent.calls('C_Login');
  const stale = await cards.unlock([1]);
  assert.equal(stale.status, 77);
  assert.match(
    stale.stderr,
    /web refused the PIN that the cards hold; unlock web with its new PIN, and enrol/,
  );
  assert.equal(agent.calls('C_Login'), before + 1);
});

test('on a terminal: asked for the card, then for its PIN, which is not shown; it ends when others were quicker', async (t) => {
  const cleanup = cleanupAfter(t);
  const cards = await deployCards(cleanup, 3);
  await cards.enrol(2);
  await cards.setReaders(cards.readerOf(1));
  const { agent } = cards;
  const env = { KEYAGENT_SOCK: agent.socket, KEYAGENT_CONTROL_SOCK: agent.controlSocket };
  const terminal = new Terminal(cleanup, `${keyagentCommand} unlock web --source card`, env);
  await terminal.shows(/PIN of card ops1 \(serial [0-9a-f]{16}\), 1 of 2:/);
  terminal.type(`${cards.card(1).pin}\r`);
  await terminal.shows(/card ops1: 1 of 2/);
  // The prompt breaks its lines where the terminal ends.
  await terminal.shows(/insert\s+one\s+of\s+ops[23] .*Enter to look again, or a label or serial:/s);
  await cards.setReaders(cards.readerOf(2));
  terminal.type('\r');
  await terminal.shows(/PIN of card ops2 \(serial [0-9a-f]{16}\), 2 of 2:/);

  await cards.setReaders(cards.readerOf(3));
  const quicker = await cards.unlock([3]);
  assert.equal(quicker.status, 0, quicker.stderr);
  assert.equal(await terminal.end(), 0);
  assert.match(terminal.screen, /web was unlocked already/);
  assert.equal(terminal.screen.includes(cards.card(1).pin), false);
});
