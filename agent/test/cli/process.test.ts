import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { openSync } from 'node:fs';
import { after, before, describe, it } from 'node:test';
import { fileURLToPath } from 'node:url';
import { FakeAgent } from './fake-agent.js';

const main = fileURLToPath(import.meta.resolve('@keyagent/agent/cli/main.js'));

describe('the keyagent process', () => {
  const agent = new FakeAgent();
  before(async () => {
    await agent.start();
    agent.answers = {
      status: () => ({
        agent: 'keyagent',
        pid: 1,
        uptime: 0,
        revoked: false,
        tokens: [{ name: 'web', state: 'locked' }],
      }),
      sources: () => ({ sources: [] }),
      unlock: () => ({ token: 'web', state: 'unlocked', already: false }),
    };
  });
  after(() => agent.stop());

  function start(argv: string[], stdout: 'pipe' | number = 'pipe') {
    const child = spawn(process.execPath, [main, ...argv], {
      env: { KEYAGENT_SOCK: agent.client },
      stdio: ['pipe', stdout, 'pipe'],
      timeout: 20_000,
    });
    let said = '';
    child.stderr?.on('data', (chunk: Buffer) => (said += chunk.toString()));
    return {
      child,
      closed: once(child, 'close').then(([status]) => ({ status: status as number | null, said })),
    };
  }

  it('ends when its work is done, though nobody closed standard input', async () => {
    const { child, closed } = start(['unlock', '--stdin']);
    child.stdin?.write('1234\n');
    assert.deepEqual(await closed, { status: 0, said: '' });
  });

  it('reports a full disk behind standard output in one line', async () => {
    const { closed } = start(['status'], openSync('/dev/full', 'w'));
    const { status, said } = await closed;
    assert.equal(status, 73);
    assert.match(said, /^keyagent: standard output: cannot be written \(ENOSPC\); [^\n]+\n$/);
  });

  it('ends quietly when its reader has gone', async () => {
    const { child, closed } = start(['status']);
    child.stdout?.destroy();
    assert.deepEqual(await closed, { status: 141, said: '' });
  });
});
