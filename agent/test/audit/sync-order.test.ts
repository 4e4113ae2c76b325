/**
 * When the log is on disk, by the order of what happens and by a clock of the test's own, so that a busy machine changes
 * nothing: what the file system is asked for is noted, call by call.
 */
import assert from 'node:assert/strict';
import fs from 'node:fs';
import { syncBuiltinESMExports } from 'node:module';
import path from 'node:path';
import { describe, it, type TestContext } from 'node:test';
import { setImmediate } from 'node:timers/promises';
import type { ScratchLog as Log } from './scratch-log.js';

type Call = { file: string; what: 'written' | 'synced'; lines: number };

const calls: Call[] = [];

function note(fd: number, what: Call['what'], lines: number): void {
  calls.push({ file: path.basename(fs.readlinkSync(`/proc/self/fd/${fd}`)), what, lines });
}

/** Lines that the log has, and that a head vouches for: the third word of its only line (docs/audit.md). */
function linesIn(fd: number): number {
  const file = fs.readlinkSync(`/proc/self/fd/${fd}`);
  const text = fs.readFileSync(file, 'utf8');
  return file.endsWith('.head') ? Number(text.split(' ')[2]) : text.split('\n').length - 1;
}

const { writeSync, fdatasync, fdatasyncSync } = fs;
fs.writeSync = ((fd: number, ...rest: [string]) => {
  const written = writeSync(fd, ...rest);
  note(fd, 'written', linesIn(fd));
  return written;
}) as typeof writeSync;
fs.fdatasyncSync = (fd) => {
  const lines = linesIn(fd);
  fdatasyncSync(fd);
  note(fd, 'synced', lines);
};
fs.fdatasync = ((fd, done) => {
  // What comes while it is under way may not be on disk.
  const lines = linesIn(fd);
  fdatasync(fd, (error) => {
    note(fd, 'synced', lines);
    done(error);
  });
}) as typeof fdatasync;
syncBuiltinESMExports();
// Not before: they take what node:fs exports by then.
const { ScratchLog, sign } = await import('./scratch-log.js');
const { readHead, readHeadKey } = await import('@keyagent/agent/audit/head.js');

/** An agent's log of which the opening line is on disk, and the clock. */
async function openLog(t: TestContext): Promise<{ log: Log; write: (count: number) => Promise<void> }> {
  t.mock.timers.enable({ apis: ['setTimeout'] });
  const log = new ScratchLog(t);
  const writer = log.open();
  await sign(writer, 1);
  calls.length = 0;
  return { log, write: (count) => sign(writer, count) };
}

async function until(condition: () => boolean): Promise<void> {
  while (!condition()) await setImmediate();
}

/** A head that names so many lines as synced is on disk itself. */
const isSynced = (lines: number) => (): boolean =>
  calls.some((call) => call.file === 'audit.head' && call.what === 'synced' && call.lines === lines);

describe('the audit log on disk', { timeout: 60_000 }, () => {
  it('is synced half a second after a line, however many follow, and again half a second later', async (t) => {
    const { write } = await openLog(t);
    for (let lines = 3; lines <= 7; lines++) {
      await write(1);
      t.mock.timers.tick(100);
    }
    await until(isSynced(7));
    await write(1);
    t.mock.timers.tick(500);
    await until(isSynced(8));
  });

  it('has each line written before its record resolves', async (t) => {
    const { write } = await openLog(t);
    for (let lines = 3; lines < 10; lines++) {
      await write(1);
      assert.deepEqual(calls.findLast(({ file }) => file === 'audit.jsonl')?.lines, lines);
    }
  });

  it('is named as synced by a head only after it was, and that head is synced too', async (t) => {
    const { write } = await openLog(t);
    await write(5);
    t.mock.timers.tick(500);
    await until(isSynced(7));
    const at = (file: string, what: Call['what'], lines: number): number =>
      calls.findIndex((call) => call.file === file && call.what === what && call.lines === lines);
    const order = [
      at('audit.jsonl', 'written', 7),
      at('audit.jsonl', 'synced', 7),
      at('audit.head', 'written', 7),
      at('audit.head', 'synced', 7),
    ];
    assert.ok(!order.includes(-1), JSON.stringify(calls));
    assert.deepEqual(
      order,
      order.toSorted((a, b) => a - b),
    );
  });

  it('has a head that follows within 20 ms under load', async (t) => {
    const { write, log } = await openLog(t);
    await write(200);
    t.mock.timers.tick(20);
    const head = readHead(log.headFile, readHeadKey(log.keyFile));
    assert.equal(typeof head === 'object' && head.seq, 202);
  });
});
