import assert from 'node:assert/strict';
import { rmSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { describe, it } from 'node:test';
import { keyagent, type Outcome } from '../cli/command.js';
import { FakeAgent } from '../cli/fake-agent.js';
import { lineHash } from '@keyagent/agent/audit/record.js';
import { ScratchLog, sign } from './scratch-log.js';

const nobody = new FakeAgent();

function verify(log: ScratchLog, ...argv: string[]): Promise<Outcome> {
  const config = path.join(log.folder, 'keyagent.toml');
  writeFileSync(config, `[agent]\nstate_dir = "${log.folder}"\n[audit]\nfile = "${log.file}"\n`, {
    mode: 0o600,
  });
  return keyagent(nobody, ['audit', 'verify', ...argv], { env: { KEYAGENT_CONFIG: config } });
}

describe('keyagent audit verify', () => {
  it('finds log, head and key by the configuration, and says what is good', async (t) => {
    const log = new ScratchLog(t);
    await log.live(3);
    const { status, stdout, stderr } = await verify(log);
    assert.deepEqual([status, String(stdout), stderr], [0, `good: records 1 to 4 in ${log.file}\n`, '']);
  });

  it('needs nothing but the three files', async (t) => {
    const log = new ScratchLog(t);
    await log.live(3);
    const argv = ['audit', 'verify', log.file, '--head', log.headFile, '--key', log.keyFile];
    assert.equal((await keyagent(nobody, argv, { env: {} })).status, 0);
  });

  it('exits with 65 and names the line that was tampered with', async (t) => {
    const log = new ScratchLog(t);
    await log.live(3);
    log.tamper((lines) => lines.toSpliced(2, 1));
    const { status, stdout, stderr } = await verify(log);
    assert.deepEqual(
      [status, String(stdout), stderr],
      [65, '', `keyagent: ${log.file}:3: record 3 is missing before this line\n`],
    );
    const json = await verify(log, '--json');
    assert.deepEqual([json.status, String(json.stdout)], [65, '']);
    assert.deepEqual(JSON.parse(json.stderr), {
      error: { code: 'TAMPERED', message: `${log.file}:3: record 3 is missing before this line` },
    });
  });

  it('exits with 0 and warns after an end that was not in order', async (t) => {
    const log = new ScratchLog(t);
    log.killAfter(3);
    const text = 'the agent did not end in order';
    const { status, stdout, stderr } = await verify(log);
    assert.deepEqual(
      [status, String(stdout), stderr],
      [0, `good: records 1 to 4 in ${log.file}\n`, `keyagent: warning: ${log.file}:4: ${text}\n`],
    );
    const json = await verify(log, '--json');
    assert.deepEqual([json.status, json.stderr], [0, '']);
    assert.deepEqual(JSON.parse(String(json.stdout)), {
      good: true,
      files: [log.file],
      first: 1,
      last: 4,
      warnings: [{ file: log.file, line: 4, text }],
    });
  });

  it('does not warn of an agent that runs', async (t) => {
    const log = new ScratchLog(t);
    await sign(log.open(), 3);
    const { status, stderr } = await verify(log);
    assert.deepEqual([status, stderr], [0, '']);
  });

  it('takes heads that were kept elsewhere', async (t) => {
    const log = new ScratchLog(t);
    await log.live(3);
    const kept = `2:${lineHash(log.lines()[1] ?? '')}`;
    assert.equal((await verify(log, '--expect', kept)).status, 0);
    assert.equal((await verify(log, '--expect', kept, kept.replace('2:', '3:'))).status, 65);
    assert.equal((await verify(log, '--expect', kept.replace('2:', '9:'))).status, 65);
    const { status, stderr } = await verify(log, '--expect', '2:ab');
    assert.equal(status, 64);
    assert.match(stderr, /^keyagent: "2:ab" is no head; write it as NUMBER:HASH/);
  });

  it('says what it cannot read, and what to do', async (t) => {
    const log = new ScratchLog(t);
    await log.live(1);
    rmSync(log.keyFile);
    const { status, stderr } = await verify(log);
    assert.equal(status, 66);
    assert.equal(
      stderr,
      `keyagent: ${log.keyFile}: cannot be read (ENOENT); run this as root or as the agent's user, or name the files (FILE, --head, --key)\n`,
    );
  });

  it('is 64 without a verb it knows', async () => {
    assert.equal((await keyagent(nobody, ['audit'])).status, 64);
    assert.equal((await keyagent(nobody, ['audit', 'erase'])).status, 64);
  });
});
