import assert from 'node:assert/strict';
import { execFileSync, spawn } from 'node:child_process';
import { once } from 'node:events';
import {
  appendFileSync,
  mkdirSync,
  readFileSync,
  rmSync,
  statSync,
  truncateSync,
  writeFileSync,
} from 'node:fs';
import path from 'node:path';
import { describe, it } from 'node:test';
import type { AuditSettings } from '@keyagent/agent/audit/audit-log.js';
import type { Position } from '@keyagent/agent/audit/record.js';
import { ScratchLog, killedWriter, sign, signed } from './scratch-log.js';

const isRoot = process.getuid?.() === 0;
const denied = { code: 'INTERNAL', message: /^the audit log cannot be written/ };

describe('the audit log', () => {
  it('has a record when it says so, in the order of the operations', async (t) => {
    const log = new ScratchLog(t);
    const writer = log.open();
    const first = writer.record({ ...signed, queueUs: 1 });
    const second = writer.record({ ...signed, queueUs: 2 });
    assert.equal(first, second, 'records of one turn are one write');
    await first;
    assert.deepEqual(
      log.records().map(({ seq, event, queue_us: us }) => [seq, event, us]),
      [
        [1, 'log', undefined],
        [2, 'sign', 1],
        [3, 'sign', 2],
      ],
    );
    await sign(writer, 1);
    assert.equal(log.records().length, 4);
    assert.deepEqual(await log.warnings(), []);
  });

  it('is for its owner alone, and so are its head and key', async (t) => {
    const log = new ScratchLog(t);
    await log.live(1);
    for (const file of [log.file, log.headFile, log.keyFile])
      assert.equal(statSync(file).mode & 0o777, 0o600, file);
  });

  it('publishes its head when it begins and when it ends', async (t) => {
    const log = new ScratchLog(t);
    const published: Position[] = [];
    const writer = log.open({ publish: (head) => published.push(head) });
    await sign(writer, 3);
    writer.close();
    assert.deepEqual(
      published.map(({ seq }) => seq),
      [1, 4],
    );
    assert.equal(await log.verdict(published), 'good');
  });

  it('cannot be where nothing can be written', (t) => {
    const log = new ScratchLog(t);
    mkdirSync(log.file);
    assert.throws(() => log.open(), {
      code: 'CONFIGURATION',
      message: /audit\.jsonl: cannot be written \(EISDIR\)/,
    });
  });

  it('waits for another agent that still writes it', async (t) => {
    const log = new ScratchLog(t);
    const other = spawn(process.execPath, [killedWriter, log.file, log.folder, '2', 'stay'], {
      stdio: ['pipe', 'pipe', 'inherit'],
    });
    await once(other.stdout, 'data');
    const writer = log.open();
    await assert.rejects(sign(writer, 1), denied);
    assert.equal(log.records().length, 3);
    other.stdin.end();
    await once(other, 'exit');
    await sign(writer, 1);
    writer.close();
    assert.equal(log.records().at(3)?.['unrecorded'], 1);
    assert.equal(await log.verdict(), 'good');
  });
});

describe('an agent that was killed', () => {
  it('leaves a log that is good, with a warning', async (t) => {
    const log = new ScratchLog(t);
    log.killAfter(3);
    assert.deepEqual(await log.warnings(), ['audit.jsonl:4: the agent did not end in order']);
  });

  it('is told by the next one', async (t) => {
    const log = new ScratchLog(t);
    log.killAfter(3);
    await log.live(1);
    assert.deepEqual(await log.warnings(), [
      'audit.jsonl:5: an agent began after one that did not end in order',
    ]);
  });

  it('may leave an unfinished line: the next one goes on after it and says so', async (t) => {
    const log = new ScratchLog(t);
    log.killAfter(3);
    appendFileSync(log.file, '{"seq":5,"prev":"00');
    const unfinished = 'audit.jsonl:5: an unfinished line: the agent was killed, or the disk was full';
    assert.deepEqual(await log.warnings(), [unfinished, 'audit.jsonl:5: the agent did not end in order']);
    await log.live(2);
    assert.deepEqual(await log.warnings(), [
      unfinished,
      'audit.jsonl:6: an agent began after one that did not end in order',
    ]);
    const opening = JSON.parse(log.lines()[5] ?? '') as Record<string, unknown>;
    assert.deepEqual([opening['event'], opening['seq'], opening['unfinished']], ['log', 5, 19]);
    log.tamper((lines) => lines.with(4, '{"seq":5,"prev":"01'));
    assert.equal(
      await log.verdict(),
      'audit.jsonl:5: the next line names another hash for this one: it was changed',
    );
  });

  it('may leave a whole line without its end', async (t) => {
    const log = new ScratchLog(t);
    log.killAfter(3);
    truncateSync(log.file, statSync(log.file).size - 1);
    await log.live(1);
    assert.deepEqual(await log.warnings(), [
      'audit.jsonl:5: an agent began after one that did not end in order',
    ]);
  });

  it('may leave the lines of its last milliseconds without a head that names them', async (t) => {
    const log = new ScratchLog(t);
    log.killAfter(3, 'kill-at-once');
    assert.deepEqual(await log.warnings(), [
      'audit.jsonl:4: records 3 to 4 are not vouched for by the head',
      'audit.jsonl:4: the agent did not end in order',
    ]);
    await log.live(1);
    assert.deepEqual(await log.warnings(), [
      'audit.jsonl:5: records 3 to 4 are not vouched for by a head',
      'audit.jsonl:5: an agent began after one that did not end in order',
    ]);
  });

  for (const [name, damage, verdict] of [
    [
      'a removed last line',
      (l: string[]) => l.slice(0, -1),
      'audit.jsonl:3: record 4 is missing after this line',
    ],
    [
      'a cut last line',
      (l: string[]) => l.with(-1, '{"seq":4'),
      'audit.jsonl:4: record 4 is missing after this line',
    ],
  ] as const) {
    it(`is no excuse for ${name}`, async (t) => {
      const log = new ScratchLog(t);
      log.killAfter(3);
      log.tamper(damage);
      assert.equal(await log.verdict(), verdict);
      await log.live(1);
      assert.notEqual(await log.verdict(), 'good');
    });
  }
});

describe(
  'an agent that sees processes only in /proc',
  { skip: isRoot ? false : 'needs root, for unshare' },
  () => {
    const mount = 'mount -t proc -o subset=pid proc /proc && exec "$@"';
    const start = ['unshare', '--mount', 'sh', '-c', mount, 'sh', process.execPath] as const;
    const boot = readFileSync('/proc/sys/kernel/random/boot_id', 'utf8').trim().replaceAll('-', '');

    it('writes its log as any other', async (t) => {
      const log = new ScratchLog(t);
      log.killAfter(3, 'kill', start);
      assert.deepEqual(await log.warnings(), ['audit.jsonl:4: the agent did not end in order']);
    });

    it('is told by a variable which boot this is', async (t) => {
      const log = new ScratchLog(t);
      log.killAfter(3, 'kill', start, { KEYAGENT_BOOT_ID: boot });
      log.tamper((lines) => lines.slice(0, -1));
      assert.equal(await log.verdict(), 'audit.jsonl:3: record 4 is missing after this line');
    });
  },
);

/** A file system of 64 KiB in the log's folder. */
function smallDisk(log: ScratchLog): { file: string; fill: () => void; free: () => void } {
  const folder = path.join(log.folder, 'disk');
  mkdirSync(folder);
  execFileSync('mount', ['-t', 'tmpfs', '-o', 'size=64k', 'keyagent-test', folder]);
  log.undo.push(() => execFileSync('umount', [folder]));
  const ballast = path.join(folder, 'ballast');
  return {
    file: path.join(folder, 'audit.jsonl'),
    fill: () => {
      try {
        writeFileSync(ballast, Buffer.alloc(128 * 1024));
      } catch (error) {
        assert.equal((error as NodeJS.ErrnoException).code, 'ENOSPC');
      }
    },
    free: () => rmSync(ballast),
  };
}

describe('a full disk', { skip: isRoot ? false : 'needs root, to mount a small one' }, () => {
  async function untilFull(writer: ReturnType<ScratchLog['open']>): Promise<number> {
    for (let written = 0; ; written++) {
      try {
        await writer.record(signed);
      } catch (error) {
        assert.deepEqual((error as { code: string }).code, denied.code);
        return written;
      }
    }
  }

  it('refuses operations with on_error = "deny", until there is room again', async (t) => {
    const log = new ScratchLog(t);
    const disk = smallDisk(log);
    const writer = log.open({ file: disk.file });
    await sign(writer, 2);
    writer.requireWritable();
    disk.fill();
    const written = await untilFull(writer);
    assert.throws(() => writer.requireWritable(), denied);
    await assert.rejects(writer.record(signed), denied);
    await writer.note({ event: 'lock', outcome: 'ok' });
    disk.free();
    writer.requireWritable();
    await sign(writer, 2);
    writer.close();

    const records = log.records(disk.file);
    const opening = records.findLast(({ event }) => event === 'log');
    assert.deepEqual([opening?.['reason'], opening?.['unrecorded']], ['failure', 3]);
    assert.equal(records.filter(({ event }) => event === 'sign').length, written + 4);
    assert.deepEqual(log.told, [
      'the audit log cannot be written, and operations are refused',
      'the audit log is written again; 3 records are not in it',
    ]);
    const verified = await log.verify({ file: disk.file });
    assert.deepEqual(
      verified.warnings.map(({ text }) => text),
      ['3 records before this line could not be written'],
    );
  });

  it('lets them pass with on_error = "count", and counts them', async (t) => {
    const log = new ScratchLog(t);
    const disk = smallDisk(log);
    const writer = log.open({ file: disk.file, onError: 'count' });
    await sign(writer, 2);
    disk.fill();
    await sign(writer, 100);
    writer.requireWritable();
    disk.free();
    await sign(writer, 1);
    writer.close();
    const records = log.records(disk.file);
    const written = records.filter(({ event }) => event === 'sign').length;
    const opening = records.findLast(({ event }) => event === 'log');
    assert.equal(written + Number(opening?.['unrecorded']), 103);
    assert.equal((await log.verify({ file: disk.file })).warnings.length, 1);
  });

  it('takes no part of a record, whatever is the size of the room that is left', async (t) => {
    const log = new ScratchLog(t);
    const disk = smallDisk(log);
    const writer = log.open({ file: disk.file });
    await sign(writer, 1);
    // tmpfs has pages of 4096 bytes: batches of several sizes end before, at and after the end of the last one.
    for (const batch of [1, 2, 3, 5, 7]) {
      disk.fill();
      for (let refused = false; !refused;) {
        const all = Array.from({ length: batch }, () => writer.record(signed));
        refused = (await Promise.allSettled(all)).every(({ status }) => status === 'rejected');
      }
      assert.ok(readFileSync(disk.file, 'utf8').endsWith('}\n'));
      disk.free();
      await sign(writer, 1);
    }
    writer.close();
    const { warnings } = await log.verify({ file: disk.file });
    assert.deepEqual(
      warnings.map(({ text }) => text),
      [1, 2, 3, 5, 7].map((n) => `${n} records before this line could not be written`),
    );
  });

  it('under the head refuses as well, and adds no line at each try', async (t) => {
    const log = new ScratchLog(t);
    const disk = smallDisk(log);
    const stateDir = path.dirname(disk.file);
    disk.fill();
    const writer = log.open({ stateDir });
    for (let i = 0; i < 5; i++) await assert.rejects(writer.record(signed), denied);
    assert.equal(statSync(log.file).size, 0);
    disk.free();
    await sign(writer, 1);
    writer.close();
    assert.equal((await log.verify({ stateDir })).last, 2);
  });
});

describe('a device that is always full', () => {
  const settings = { file: '/dev/full' } satisfies Partial<AuditSettings>;

  it('refuses with on_error = "deny"', async (t) => {
    const log = new ScratchLog(t);
    const writer = log.open(settings);
    assert.throws(() => writer.requireWritable(), denied);
    await assert.rejects(writer.record(signed), denied);
  });

  it('counts with on_error = "count"', async (t) => {
    const log = new ScratchLog(t);
    const writer = log.open({ ...settings, onError: 'count' });
    writer.requireWritable();
    await sign(writer, 3);
    assert.deepEqual(log.told, ['the audit log cannot be written, and operations go on unrecorded']);
  });
});
