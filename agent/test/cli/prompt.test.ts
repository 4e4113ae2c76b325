import assert from 'node:assert/strict';
import { after, before, beforeEach, describe, it } from 'node:test';
import { fileURLToPath } from 'node:url';
import { AgentError } from '@keyagent/protocol';
import { FakeAgent } from './fake-agent.js';
import { Terminal } from './terminal.js';

const main = fileURLToPath(import.meta.resolve('@keyagent/agent/cli/main.js'));
const pin = 'Z7q-4831';
const question = /PIN of token web \(label www, serial 12ab\):/;

/** No two characters of the PIN in a row, whatever escape sequences stand between them. */
function assertNotShown(screen: string): void {
  const text = screen.replace(/\u001b\[[0-9;?]*[A-Za-z]/g, '');
  for (let at = 0; at + 2 <= pin.length; at++) {
    assert.ok(
      !text.includes(pin.slice(at, at + 2)),
      `${JSON.stringify(pin.slice(at, at + 2))} in ${JSON.stringify(screen)}`,
    );
  }
  assert.ok(!text.includes('*'), 'its length is not shown either');
}

describe('the PIN prompt on a terminal', () => {
  const agent = new FakeAgent();
  before(() => agent.start());
  after(() => agent.stop());
  beforeEach(() => {
    agent.asked.length = 0;
    agent.answers = {
      status: () => ({
        agent: 'keyagent 0.1.0',
        pid: 1,
        uptime: 1,
        revoked: false,
        tokens: [{ name: 'web', state: 'locked', label: 'www', serial: '12ab', flags: 'login-required' }],
      }),
      unlock: () => ({ token: 'web', state: 'unlocked', already: false }),
    };
  });
  const unlock = (more = ''): Terminal =>
    new Terminal(`'${process.execPath}' '${main}' unlock ${more}`, { KEYAGENT_SOCK: agent.client });

  it('stands on a terminal that does echo what is typed', async () => {
    const terminal = new Terminal('cat', {});
    terminal.type(`${pin}\n`);
    await terminal.waitFor(new RegExp(`${pin}\\r\\n${pin}\\r\\n`));
    terminal.type('\u0004');
    assert.equal(await terminal.end(), 0);
  });

  it('shows token, label and serial, takes the PIN, and echoes nothing of it', async () => {
    const terminal = unlock();
    await terminal.waitFor(question);
    terminal.type(`${pin}\r`);
    assert.equal(await terminal.end(), 0);
    assert.match(terminal.screen, /web unlocked/);
    assertNotShown(terminal.screen);
    assert.deepEqual(agent.asked.at(-1)?.[2], { token: 'web', pin, via: 'prompt' });
  });

  it('has no key that makes the PIN visible', async () => {
    const terminal = unlock();
    await terminal.waitFor(question);
    // Ctrl-T, Tab, Ctrl-R, arrow up, Ctrl-L in between; then back to an empty line.
    terminal.type(`${pin}\u0014\t\u0012\u001b[A\u000c\u0015${pin}\r`);
    assert.equal(await terminal.end(), 0);
    assertNotShown(terminal.screen);
  });

  it('echoes nothing key by key', async () => {
    const terminal = unlock();
    await terminal.waitFor(question);
    for (const key of pin) terminal.type(key);
    terminal.type('\u007f1\r');
    assert.equal(await terminal.end(), 0);
    assertNotShown(terminal.screen);
    assert.equal(agent.asked.at(-1)?.[2].pin, pin);
  });

  it('is what --stdin means on a terminal, where the PIN would be shown otherwise', async () => {
    const terminal = unlock('--stdin');
    await terminal.waitFor(question);
    terminal.type(`${pin}\r`);
    assert.equal(await terminal.end(), 0);
    assertNotShown(terminal.screen);
  });

  it('says a wrong PIN once and exits with 77', async () => {
    agent.answers.unlock = () => {
      throw new AgentError('PIN_INCORRECT', 'the token refused the PIN; check it before you try again');
    };
    const terminal = unlock();
    await terminal.waitFor(question);
    terminal.type(`${pin}\r`);
    assert.equal(await terminal.end(), 77);
    assert.equal(terminal.screen.split('the token refused the PIN').length, 2);
    assert.equal(agent.asked.filter(([, method]) => method === 'unlock').length, 1);
    assertNotShown(terminal.screen);
  });

  it('ends with 130 on Ctrl-C and sends nothing', async () => {
    const terminal = unlock();
    await terminal.waitFor(question);
    terminal.type(`${pin}\u0003`);
    assert.equal(await terminal.end(), 130);
    assert.match(terminal.screen, /keyagent: no PIN was given; nothing has changed/);
    assertNotShown(terminal.screen);
    assert.ok(agent.asked.every(([, method]) => method === 'status'));
  });

  it('ends with 130 on Ctrl-D, as on an input that ends, and the terminal never echoes meanwhile', async () => {
    const terminal = unlock();
    await terminal.waitFor(question);
    // Only on an empty line; then what is typed next goes to nobody.
    terminal.type(`${pin}\u0004\u0015\u0004`);
    assert.equal(await terminal.end(), 130);
    assert.match(terminal.screen, /keyagent: no PIN was given; nothing has changed/);
    assertNotShown(terminal.screen);
    assert.ok(agent.asked.every(([, method]) => method === 'status'));
  });

  it('goes on after Ctrl-Z and fg, again and again, and ends when it is answered', async () => {
    const terminal = new Terminal('bash --norc --noprofile -i', { KEYAGENT_SOCK: agent.client, PS1: '> ' });
    terminal.type(`'${process.execPath}' '${main}' unlock\r`);
    await terminal.waitFor(question);
    const typed = [pin.slice(0, 2), pin.slice(2, 5), pin.slice(5)];
    for (const part of typed.slice(0, 2)) {
      terminal.type(`${part}\u001a`);
      await terminal.waitFor(/Stopped/);
      assertNotShown(terminal.screen);
      terminal.screen = '';
      terminal.type('fg\r');
      await terminal.waitFor(question);
    }
    terminal.type(`${typed[2] ?? ''}\r`);
    await terminal.waitFor(/web unlocked/);
    assertNotShown(terminal.screen);
    assert.equal(agent.asked.at(-1)?.[2].pin, pin);
    terminal.type('exit\r');
    assert.equal(await terminal.end(), 0);
  });

  it('keeps standard output clean for --json', async () => {
    const terminal = unlock('--json >/dev/null');
    await terminal.waitFor(question);
    terminal.type(`${pin}\r`);
    assert.equal(await terminal.end(), 0);
    assert.doesNotMatch(terminal.screen, /unlocked/);
  });
});
