import assert from 'node:assert/strict';
import { createHash } from 'node:crypto';
import { closeSync, openSync, readFileSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { describe, it, type TestContext } from 'node:test';
import { gzipSync } from 'node:zlib';
import { readHead, readHeadKey, writeHead } from '@keyagent/agent/audit/head.js';
import type { Position } from '@keyagent/agent/audit/record.js';
import { ScratchLog, sign } from './scratch-log.js';

const hashOf = (line: string): string => createHash('sha256').update(line).digest('hex');

/** The lines from `from` on as somebody would write them who knows the format, but not the key of the head. */
function recompute(lines: readonly string[], from: number): string[] {
  const made = lines.slice(0, from);
  for (const line of lines.slice(from)) {
    const record = JSON.parse(line) as Record<string, unknown>;
    const previous = made.at(-1);
    const prev = previous === undefined ? '0'.repeat(64) : hashOf(previous);
    made.push(JSON.stringify({ ...record, seq: made.length + 1, prev }));
  }
  return made;
}

const edit = (line = ''): string => line.replace('"uid":33', '"uid":34');
const without = (lines: readonly string[], ...numbers: number[]): string[] =>
  lines.filter((_, index) => !numbers.includes(index + 1));

describe('verification', () => {
  it('accepts what an agent wrote, and says which records are there', async (t) => {
    const log = new ScratchLog(t);
    await log.live(5);
    await log.live(3);
    const { first, last, files, warnings } = await log.verify();
    assert.deepEqual(
      { first, last, files, warnings },
      { first: 1, last: 10, files: [log.file], warnings: [] },
    );
  });

  it('finds an end that was recomputed by whoever has the key of the head, by a head kept elsewhere', async (t) => {
    const log = new ScratchLog(t);
    const kept: Position[] = [];
    const writer = log.open({ publish: (head) => kept.push(head) });
    await sign(writer, 3);
    writer.close();
    const key = readHeadKey(log.keyFile);
    const head = readHead(log.headFile, key);
    assert.ok(typeof head === 'object');
    log.tamper((lines) => lines.with(-1, edit(lines.at(-1))));
    const fd = openSync(log.headFile, 'r+');
    writeHead(fd, key, { ...head, hash: hashOf(log.lines().at(-1) ?? '') });
    closeSync(fd);
    assert.equal(await log.verdict(), 'good', 'without one it cannot be seen');
    assert.equal(
      await log.verdict(kept),
      'audit.jsonl:4: record 4 has not the hash that was expected: it was changed',
    );
  });

  // Line 1 opens the log, lines 2 to 6 are signatures, line 7 opens a second life, 8 to 9 are signatures.
  const tampering: [name: string, change: (lines: string[]) => readonly string[], verdict: string][] = [
    [
      'a changed line',
      (l) => l.with(3, edit(l[3])),
      'audit.jsonl:4: the next line names another hash for this one: it was changed',
    ],
    [
      'a changed last line',
      (l) => l.with(-1, edit(l.at(-1))),
      'audit.jsonl:9: record 9 is not the one that the head names: it was changed',
    ],
    [
      'a changed first line',
      (l) => l.with(0, (l[0] ?? '').replace('"start"', '"rotation"')),
      'audit.jsonl:1: the next line names another hash for this one: it was changed',
    ],
    [
      'a changed line before an opening one',
      (l) => l.with(5, edit(l[5])),
      'audit.jsonl:7: record 6 is not the one that the head named when this line was written',
    ],
    ['a removed line', (l) => without(l, 4), 'audit.jsonl:4: record 4 is missing before this line'],
    [
      'several removed lines',
      (l) => without(l, 3, 4, 5),
      'audit.jsonl:3: records 3 to 5 are missing before this line',
    ],
    [
      'a removed first line',
      (l) => without(l, 1),
      'audit.jsonl:1: lines before this one are missing: a file has an opening line',
    ],
    ['a removed last line', (l) => without(l, 9), 'audit.jsonl:8: record 9 is missing after this line'],
    [
      'a removed second life',
      (l) => l.slice(0, 6),
      'audit.jsonl:6: records 7 to 9 are missing after this line',
    ],
    [
      'a removed end of the first life',
      (l) => without(l, 5, 6),
      'audit.jsonl:5: records 5 to 6 are missing before this line',
    ],
    ['no line left', () => [], 'audit.jsonl: there is no record; the head names record 9'],
    [
      'two lines in the other order',
      (l) => [...l.slice(0, 2), l[3] ?? '', l[2] ?? '', ...l.slice(4)],
      'audit.jsonl:3: record 3 is missing before this line',
    ],
    [
      'a line that is there twice',
      (l) => l.toSpliced(3, 0, l[3] ?? ''),
      'audit.jsonl:5: record 4 stands where record 5 belongs',
    ],
    [
      'a line that was put in',
      (l) => l.toSpliced(3, 0, edit(l[3])),
      'audit.jsonl:5: record 4 stands where record 5 belongs',
    ],
    ['a line that is no record', (l) => l.toSpliced(3, 0, 'x'), 'audit.jsonl:4: this is not a record'],
    [
      'a line that is JSON and no record',
      (l) => l.toSpliced(3, 0, '{"seq":"4"}'),
      'audit.jsonl:4: this is not a record',
    ],
    ['a line that was emptied', (l) => l.with(3, ''), 'audit.jsonl:4: this is not a record'],
    [
      'a line that was cut',
      (l) => l.with(3, (l[3] ?? '').slice(0, 40)),
      'audit.jsonl:4: this is not a record',
    ],
    [
      'a last line that was cut',
      (l) => l.with(8, (l[8] ?? '').slice(0, 40)),
      'audit.jsonl:9: record 9 is missing after this line',
    ],
    [
      'another number',
      (l) => l.with(3, (l[3] ?? '').replace('"seq":4', '"seq":14')),
      'audit.jsonl:4: records 4 to 13 are missing before this line',
    ],
    [
      'a record after the end',
      (l) => recompute([...l, edit(l[8])], 9),
      'audit.jsonl:10: the agent ended in order with record 9: what follows is not its own',
    ],
    [
      'something after the end',
      (l) => [...l, ''],
      'audit.jsonl:10: the agent ended in order with record 9: what follows is not its own',
    ],
    [
      'a record after the end of the first life',
      (l) => recompute(l.toSpliced(6, 0, edit(l[5])), 6),
      'audit.jsonl:8: record 7 is here, but the agent had ended before',
    ],
    [
      'an end that was recomputed',
      (l) => recompute(l.with(7, edit(l[7])), 7),
      'audit.jsonl:9: record 9 is not the one that the head names: it was changed',
    ],
    [
      'a shorter end that was recomputed',
      (l) => recompute(without(l, 8), 7),
      'audit.jsonl:8: record 9 is missing after this line',
    ],
    [
      'everything recomputed',
      (l) => recompute(l.with(1, edit(l[1])), 1),
      'audit.jsonl:7: record 6 is not the one that the head named when this line was written',
    ],
  ];
  for (const [name, change, verdict] of tampering) {
    it(`finds ${name}`, async (t) => {
      const log = new ScratchLog(t);
      await log.live(5);
      await log.live(2);
      log.tamper(change);
      assert.equal(await log.verdict(), verdict);
    });
  }

  it('finds tampering while the agent did not run, also after its next start', async (t) => {
    for (const [change, verdict] of [
      [(l: string[]) => l.slice(0, -2), 'audit.jsonl:5: records 5 to 6 are missing before this line'],
      [
        (l: string[]) => recompute(l.with(3, edit(l[3])), 3),
        'audit.jsonl:7: record 6 is not the one that the head named when this line was written',
      ],
    ] as const) {
      const log = new ScratchLog(t);
      await log.live(5);
      log.tamper(change);
      await log.live(3);
      assert.equal(await log.verdict(), verdict);
    }
  });

  it('finds a log that was replaced together with its head', async (t) => {
    const log = new ScratchLog(t);
    await log.live(5);
    const forger = new ScratchLog(t);
    await forger.live(5);
    writeFileSync(log.file, readFileSync(forger.file));
    assert.equal(
      await log.verdict(),
      'audit.jsonl:6: record 6 is not the one that the head names: it was changed',
    );
    writeFileSync(log.headFile, readFileSync(forger.headFile));
    assert.equal(await log.verdict(), 'audit.head: the head was not made with the key of this log');
    await log.live(1);
    assert.match(await log.verdict(), /^audit\.jsonl:7: the head was forged when this agent began/);
  });

  it('finds that the head was removed', async (t) => {
    const log = new ScratchLog(t);
    await log.live(5);
    rmSync(log.headFile);
    assert.equal(await log.verdict(), 'audit.head: the head is missing');
    await log.live(1);
    assert.match(await log.verdict(), /^audit\.jsonl:7: the head was missing when this agent began/);
  });

  it('compares heads that were kept elsewhere: an old log and its old head are no longer enough', async (t) => {
    const log = new ScratchLog(t);
    await log.live(5);
    const old = [readFileSync(log.file), readFileSync(log.headFile)] as const;
    await log.live(5);
    const kept = { seq: 9, hash: hashOf(log.lines()[8] ?? '') };
    assert.equal(await log.verdict([kept]), 'good');
    assert.equal(
      await log.verdict([{ ...kept, seq: 8 }]),
      'audit.jsonl:8: record 8 is not the one that the head names: it was changed',
    );
    writeFileSync(log.file, old[0]);
    writeFileSync(log.headFile, old[1]);
    assert.equal(await log.verdict(), 'good');
    assert.equal(await log.verdict([kept]), 'audit.jsonl:6: records 7 to 9 are missing after this line');
  });

  it('does not take a second life for the first: records cannot be played again', async (t) => {
    const log = new ScratchLog(t);
    await log.live(2);
    const first = log.lines();
    await log.live(2);
    log.tamper((lines) => [...lines, ...first]);
    assert.equal(await log.verdict(), 'audit.jsonl:7: record 1 stands where record 7 belongs');
  });
});

describe('rotation', () => {
  async function rotatedThrice(t: TestContext): Promise<ScratchLog> {
    const log = new ScratchLog(t);
    const writer = log.open();
    await sign(writer, 3);
    for (const name of ['.2', '.1']) {
      renameSync(log.file, `${log.file}${name}`);
      writer.reopen();
      await sign(writer, 3);
    }
    writer.close();
    writeFileSync(`${log.file}.2.gz`, gzipSync(readFileSync(`${log.file}.2`)));
    rmSync(`${log.file}.2`);
    return log;
  }

  it('goes on in the new file with a line that names the last one of the old file', async (t) => {
    const log = await rotatedThrice(t);
    const [opening] = log.records();
    const last = log.lines(`${log.file}.1`).at(-1) ?? '';
    assert.deepEqual(
      [opening?.['event'], opening?.['reason'], opening?.['seq'], opening?.['prev']],
      ['log', 'rotation', 9, hashOf(last)],
    );
  });

  it('is followed through renamed and compressed files, whichever of them is named', async (t) => {
    const log = await rotatedThrice(t);
    const { files, first, last, warnings } = await log.verify();
    assert.deepEqual(files, [`${log.file}.2.gz`, `${log.file}.1`, log.file]);
    assert.deepEqual([first, last, warnings], [1, 12, []]);
  });

  it('may remove the oldest files, and no others', async (t) => {
    const log = await rotatedThrice(t);
    rmSync(`${log.file}.2.gz`);
    assert.deepEqual(await log.verify().then(({ first, last }) => [first, last]), [5, 12]);

    const other = await rotatedThrice(t);
    rmSync(`${other.file}.1`);
    assert.equal(await other.verdict(), 'audit.jsonl:1: records 5 to 8 are missing before this line');
    const end = await rotatedThrice(t);
    rmSync(end.file);
    assert.equal(await end.verdict(), 'audit.jsonl.1:4: records 9 to 12 are missing after this line');
  });

  it('finds a changed line in an older file, and in its last line', async (t) => {
    const log = await rotatedThrice(t);
    const older = `${log.file}.1`;
    writeFileSync(older, readFileSync(older, 'utf8').replace('"queue_us":2', '"queue_us":9'));
    assert.equal(
      await log.verdict(),
      'audit.jsonl:1: record 8 is not the one that the head named when this line was written',
    );
  });

  it('is nothing new for a file that kept its name', async (t) => {
    const log = new ScratchLog(t);
    const writer = log.open();
    await sign(writer, 1);
    writer.reopen();
    await sign(writer, 1);
    assert.deepEqual(
      log.records().map(({ event }) => event),
      ['log', 'sign', 'sign'],
    );
  });

  it('works while no agent runs', async (t) => {
    const log = new ScratchLog(t);
    await log.live(3);
    renameSync(log.file, `${log.file}-20260131`);
    await log.live(3);
    assert.deepEqual(await log.verify().then(({ first, last, warnings }) => [first, last, warnings]), [
      1,
      8,
      [],
    ]);
  });
});
