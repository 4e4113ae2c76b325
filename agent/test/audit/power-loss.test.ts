/** A machine that went down: what was not synced may be gone, and nothing else. */
import assert from 'node:assert/strict';
import { closeSync, openSync } from 'node:fs';
import { describe, it, type TestContext } from 'node:test';
import { readHead, readHeadKey, writeHead } from '@keyagent/agent/audit/head.js';
import { ScratchLog } from './scratch-log.js';

/** A log of 6 records, of which 4 were on disk for certain, as the next boot finds it with so many left. */
async function afterPowerLoss(t: TestContext, left: number): Promise<ScratchLog> {
  const log = new ScratchLog(t);
  await log.live(5);
  const key = readHeadKey(log.keyFile);
  const head = readHead(log.headFile, key);
  assert.ok(typeof head === 'object');
  const fd = openSync(log.headFile, 'r+');
  const writer = { ...head.writer, boot: '00000000000040008000000000000000' };
  writeHead(fd, key, { ...head, closed: false, synced: 4, writer });
  closeSync(fd);
  log.tamper((lines) => lines.slice(0, left));
  return log;
}

const cases: [left: number, now: string[], afterNextStart: string[]][] = [
  [
    6,
    ['audit.jsonl:6: the agent did not end in order'],
    ['audit.jsonl:7: an agent began after one that did not end in order'],
  ],
  [
    4,
    [
      'audit.jsonl:4: records 5 to 6 are missing: not yet on disk when the machine went down',
      'audit.jsonl:4: the agent did not end in order',
    ],
    [
      'audit.jsonl:5: records 5 to 6 are missing: not yet on disk when the machine went down',
      'audit.jsonl:5: an agent began after one that did not end in order',
    ],
  ],
];

describe('a machine that went down', () => {
  for (const [left, now, afterNextStart] of cases) {
    it(`leaves a good log of ${left} records, with a warning`, async (t) => {
      const log = await afterPowerLoss(t, left);
      assert.deepEqual(await log.warnings(), now);
      await log.live(1);
      assert.deepEqual(await log.warnings(), afterNextStart);
      assert.equal(log.records().at(-1)?.['seq'], 8, 'no number is used twice');
    });
  }

  it('does not excuse a record that was on disk', async (t) => {
    const log = await afterPowerLoss(t, 3);
    assert.equal(await log.verdict(), 'audit.jsonl:3: records 4 to 6 are missing after this line');
    await log.live(1);
    assert.equal(await log.verdict(), 'audit.jsonl:4: records 4 to 6 are missing before this line');
  });
});
