/** What a state file survives: the order in which it reaches the disk. */
import assert from 'node:assert/strict';
import fs from 'node:fs';
import { syncBuiltinESMExports } from 'node:module';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { test, type TestContext } from 'node:test';
import { readStateFile, removeStateFile, writeStateFile } from '@keyagent/agent/state/state-file.js';

interface Scene {
  file: string;
  /** Calls that put something on disk, in their order, by what they are about. */
  deeds: string[];
}

function scene(t: TestContext): Scene {
  const folder = fs.mkdtempSync(path.join(tmpdir(), 'keyagent-state-'));
  const file = path.join(folder, 'record.json');
  const deeds: string[] = [];
  const nameOf = (fd: number): string => path.relative(folder, fs.readlinkSync(`/proc/self/fd/${fd}`)) || '.';
  const { fsyncSync, renameSync, rmSync } = fs;
  t.mock.method(fs, 'fsyncSync', (fd: number) => {
    fsyncSync(fd);
    deeds.push(`sync ${nameOf(fd)}`);
  });
  t.mock.method(fs, 'renameSync', (from: string, to: string) => {
    renameSync(from, to);
    deeds.push(`rename ${path.basename(from)} to ${path.basename(to)}`);
  });
  t.mock.method(fs, 'rmSync', (name: string, options: fs.RmOptions) => {
    rmSync(name, options);
    deeds.push(`remove ${path.basename(name)}`);
  });
  syncBuiltinESMExports();
  t.after(() => {
    t.mock.restoreAll();
    syncBuiltinESMExports();
    rmSync(folder, { recursive: true });
  });
  return { file, deeds };
}

test('a file is on disk whole before it has its name, and its name before the call returns', (t) => {
  const { file, deeds } = scene(t);
  writeStateFile(file, 'content');
  assert.deepEqual(deeds, ['sync record.json.new', 'rename record.json.new to record.json', 'sync .']);
  assert.equal(readStateFile(file)?.toString(), 'content');
  assert.equal(fs.statSync(file).mode & 0o777, 0o600);
});

test('a file that is removed does not come back', (t) => {
  const { file, deeds } = scene(t);
  writeStateFile(file, 'content');
  deeds.length = 0;
  removeStateFile(file);
  assert.deepEqual(deeds, ['remove record.json', 'sync .']);
  assert.equal(readStateFile(file), undefined);
});

test('what cannot be written leaves the old content', (t) => {
  const { file } = scene(t);
  writeStateFile(file, 'old');
  fs.mkdirSync(`${file}.new`);
  assert.throws(() => {
    writeStateFile(file, 'new');
  });
  assert.equal(readStateFile(file)?.toString(), 'old');
});
