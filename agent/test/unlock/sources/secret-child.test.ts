import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { existsSync, mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { describe, it, type TestContext } from 'node:test';
import { setImmediate, setTimeout as delay } from 'node:timers/promises';
import { promisify } from 'node:util';
import {
  runSecretChild,
  type ChildWait,
  type SecretChild,
} from '@keyagent/agent/unlock/sources/secret-child.js';

const env = { PATH: '/usr/bin:/bin' };
const shell = (script: string, more: Partial<SecretChild> = {}): SecretChild => ({
  command: 'sh',
  args: ['-c', script],
  env,
  ...more,
});
const run = (
  program: SecretChild,
  wait: ChildWait = { timeoutMs: 20_000 },
): ReturnType<typeof runSecretChild> => runSecretChild(program, wait);

describe('a child that gives or takes a PIN', () => {
  it('gets its input, and its output and complaint come back', async () => {
    const input = Buffer.from('1234');
    const ending = await run(shell('cat; echo " one" >&2; echo >&2; echo two >&2', { input }));
    assert.deepEqual(ending, {
      how: 'ended',
      status: 0,
      output: Buffer.from('1234'),
      complaint: ['one', 'two'],
    });
    assert.equal(input.toString(), '1234', "the input stays the caller's");
  });

  it('gets no environment but the given one', async () => {
    const ending = await run(shell('env', { env: { ...env, ONLY: 'this' } }));
    assert.ok(ending.how === 'ended');
    assert.match(ending.output.toString(), /^ONLY=this$/m);
    assert.doesNotMatch(ending.output.toString(), /^(HOME|NODE_|npm_)/m);
  });

  it('gives nothing of what it printed before it failed', async () => {
    const ending = await run(shell('printf 1234; exit 3'));
    assert.deepEqual(ending, { how: 'ended', status: 3, output: Buffer.alloc(0), complaint: [] });
  });

  it('is cut where a PIN would be too long', async () => {
    const ending = await run(shell('head -c 100000 /dev/zero'));
    assert.ok(ending.how === 'ended');
    assert.equal(ending.output.length, 258);
  });

  it('that does not read its input does no harm', async () => {
    const ending = await run(shell('exit 0', { input: Buffer.alloc(1_000_000) }));
    assert.equal(ending.how, 'ended');
  });

  it('that is not there is told from one that failed', async () => {
    const ending = await run({ command: 'no-such-program', args: [], env });
    assert.ok(ending.how === 'not-started');
    assert.match(ending.cause.message, /ENOENT/);
  });

  it('is stopped at the deadline with all that it started', async (t) => {
    const { pids, file } = pidFile(t);
    const script = `echo waiting >&2; sleep 300 & echo $! > ${file}; wait`;
    const ending = await runToDeadline(t, shell(script, { ownGroup: true }), file);
    assert.deepEqual(ending, { how: 'stopped', cause: undefined, complaint: ['waiting'] });
    await gone(pids());
  });

  it('leaves nobody behind when it ends, and is not waited for longer', async (t) => {
    const { pids, file } = pidFile(t);
    const ending = await run(shell(`sleep 300 & echo $! > ${file}; printf 1234`, { ownGroup: true }));
    assert.ok(ending.how === 'ended');
    assert.equal(ending.output.toString(), '1234');
    await gone(pids());
  });

  it('is not waited for when one that it started left the group and keeps the pipes', async (t) => {
    const { pids, file } = pidFile(t);
    const script = `setsid sh -c 'echo $$ > ${file}; exec sleep 300' & wait`;
    const ending = await runToDeadline(t, shell(script, { ownGroup: true }), file);
    assert.equal(ending.how, 'stopped');
    for (const pid of pids()) process.kill(pid, 'SIGKILL');
  });

  it('is stopped by the signal with the signal that it wants', async () => {
    const stop = new AbortController();
    const script = 'trap "echo told >&2; exit 9" TERM; echo ready >&2; while :; do sleep 0.05; done';
    const running = run(shell(script, { endSignal: 'SIGTERM' }), { signal: stop.signal });
    stop.abort(new Error('enough'));
    const ending = await running;
    assert.ok(ending.how === 'stopped');
    assert.equal(String(ending.cause), 'Error: enough');
  });

  it('is not started when the signal came before', async () => {
    const ending = await run(shell('exit 0'), { signal: AbortSignal.abort() });
    assert.equal(ending.how, 'stopped');
  });

  it('ends with the process that started it', async (t) => {
    const { pids, file } = pidFile(t);
    const module = import.meta.resolve('@keyagent/agent/unlock/sources/secret-child.js');
    const script = `import { runSecretChild } from ${JSON.stringify(module)};
      import { existsSync, readFileSync } from 'node:fs';
      const env = { PATH: '/usr/bin:/bin' };
      const args = ['-c', 'echo $$ > ${file}; sleep 300; exit'];
      void runSecretChild({ command: 'sh', args, env, ownGroup: true }, {});
      setInterval(() => { if (existsSync('${file}') && readFileSync('${file}', 'utf8').endsWith('\\n')) process.exit(0); }, 10);`;
    await promisify(execFile)(process.execPath, ['--input-type=module', '-e', script]);
    await gone(pids());
  });
});

/** The deadline comes once the child has written its pids, however long that takes it. */
async function runToDeadline(
  t: TestContext,
  program: SecretChild,
  file: string,
): ReturnType<typeof runSecretChild> {
  t.mock.timers.enable({ apis: ['setTimeout'] });
  const running = run(program, { timeoutMs: 1000 });
  while (!existsSync(file) || !readFileSync(file, 'utf8').endsWith('\n')) await setImmediate();
  // What it said before is read in a turn of its own.
  await setImmediate();
  t.mock.timers.tick(1000);
  t.mock.timers.reset();
  return running;
}

/** A file that the child writes pids to. */
function pidFile(t: TestContext): { file: string; pids(): number[] } {
  const folder = mkdtempSync(path.join(tmpdir(), 'keyagent-child-'));
  t.after(() => rmSync(folder, { recursive: true }));
  const file = path.join(folder, 'pids');
  const pids = (): number[] => readFileSync(file, 'utf8').trim().split('\n').map(Number);
  return { file, pids };
}

async function gone(pids: readonly number[]): Promise<void> {
  assert.ok(pids.length > 0 && pids.every((pid) => pid > 1), String(pids));
  const deadline = performance.now() + 10_000;
  while (pids.some(isRunning)) {
    assert.ok(performance.now() < deadline, `still running: ${String(pids)}`);
    await delay(10);
  }
}

/** A zombie that nobody collects has ended too. */
function isRunning(pid: number): boolean {
  try {
    return !/^State:\tZ/m.test(readFileSync(`/proc/${pid}/status`, 'utf8'));
  } catch {
    return false;
  }
}
