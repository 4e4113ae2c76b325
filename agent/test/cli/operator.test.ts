import assert from 'node:assert/strict';
import { Readable } from 'node:stream';
import { after, before, beforeEach, describe, it } from 'node:test';
import { AgentError, type Params, type Result } from '@keyagent/protocol';
import { keyagent } from './command.js';
import { FakeAgent } from './fake-agent.js';

type TokenStatus = Result<'status'>['tokens'][number];

const web: TokenStatus = {
  name: 'web',
  state: 'locked',
  label: 'www',
  serial: '12ab',
  keys: 2,
  flags: '',
  detail: 'run it',
};
const backup: TokenStatus = { ...web, name: 'backup' };

const sources: Result<'sources'>['sources'] = [
  { token: 'web', source: 'credential', result: 'there is no credential', at: 1_795_489_264 },
  { token: 'web', source: 'clevis', result: 'not asked' },
];

function status(...tokens: TokenStatus[]): () => Result<'status'> {
  return () => ({ agent: 'keyagent 0.1.0', pid: 42, uptime: 7384, revoked: true, tokens });
}

function unlocked({ token = '' }: Params<'unlock'>): Result<'unlock'> {
  return { token, state: 'unlocked', already: false };
}

describe('keyagent for operators', () => {
  const agent = new FakeAgent();
  before(() => agent.start());
  after(() => agent.stop());
  beforeEach(() => {
    agent.asked.length = 0;
    agent.answers = { status: status(web), sources: () => ({ sources: [...sources] }), unlock: unlocked };
  });

  describe('status', () => {
    it('exits with 0 while tokens are locked, and shows a table', async () => {
      const { status: exit, stdout } = await keyagent(agent, ['status']);
      assert.equal(exit, 0);
      assert.equal(
        String(stdout),
        'keyagent 0.1.0, pid 42, up 2 h 3 min\n' +
          'revoked: no PIN source is asked until "keyagent unlock"\n' +
          'TOKEN  STATE   KEYS  LABEL  SERIAL  FLAGS  DETAIL\n' +
          'web    locked  2     www    12ab    -      run it\n' +
          '\n' +
          'TOKEN  SOURCE      WHEN                  ANSWER\n' +
          'web    credential  2026-11-24T03:01:04Z  there is no credential\n' +
          'web    clevis      -                     not asked\n',
      );
    });

    it('prints the reply as JSON', async () => {
      const { stdout } = await keyagent(agent, ['status', '--json']);
      assert.deepEqual(JSON.parse(String(stdout)), { ...status(web)(), sources });
    });

    it('asks the control socket, and the client socket where there is none for this user', async () => {
      await keyagent(agent, ['status']);
      await keyagent(agent, ['status', '--control-socket', `${agent.directory}/none.sock`]);
      assert.deepEqual(
        agent.asked.map(([face, method]) => `${face} ${method}`),
        ['control status', 'control sources', 'client status'],
      );
    });

    it('shows no control characters of a token', async () => {
      agent.answers.status = status({ ...web, label: 'a\u001b[2Jb' });
      assert.match(String((await keyagent(agent, ['status'])).stdout), /a\\u001b\[2Jb/);
    });
  });

  describe('unlock', () => {
    it('sends one line of standard input as the PIN of the only token', async () => {
      const {
        status: exit,
        stdout,
        stderr,
      } = await keyagent(agent, ['unlock', '--stdin'], { stdin: ' 12 34\nrest\n' });
      assert.deepEqual([exit, String(stdout), stderr], [0, 'web unlocked\n', '']);
      assert.deepEqual(agent.asked, [
        ['control', 'status', {}],
        ['control', 'unlock', { token: 'web', pin: ' 12 34', via: 'prompt' }],
      ]);
    });

    it('takes a PIN that comes in pieces and ends without a newline', async () => {
      const stdin = Readable.from([Buffer.from('12'), Buffer.from('34')]);
      await keyagent(agent, ['unlock', '--stdin'], { stdin });
      assert.deepEqual(agent.asked.at(-1)?.[2], { token: 'web', pin: '1234', via: 'prompt' });
    });

    for (const [name, stdin] of [
      ['no PIN', ''],
      ['an empty line', '\n'],
      ['a PIN that is too long', `${'x'.repeat(257)}\n`],
    ] as const) {
      it(`exits with 65 for ${name} and unlocks nothing`, async () => {
        const { status: exit } = await keyagent(agent, ['unlock', '--stdin'], { stdin });
        assert.equal(exit, 65);
        assert.deepEqual(
          agent.asked.map(([, method]) => method),
          ['status'],
        );
      });
    }

    it('says a wrong PIN once, exits with 77, and does not try again', async () => {
      agent.answers.unlock = () => {
        throw new AgentError('PIN_INCORRECT', 'the token refused the PIN; check it before you try again');
      };
      const outcome = await keyagent(agent, ['unlock', '--stdin'], { stdin: '9999\n' });
      assert.deepEqual(
        [outcome.status, String(outcome.stdout), outcome.stderr],
        [77, '', 'keyagent: the token refused the PIN; check it before you try again\n'],
      );
      assert.equal(agent.asked.filter(([, method]) => method === 'unlock').length, 1);
    });

    it('exits with 64 and lists the tokens where several could be meant', async () => {
      agent.answers.status = status(web, backup);
      for (const argv of [['unlock', '--stdin'], ['unlock']]) {
        const { status: exit, stderr } = await keyagent(agent, argv, { stdin: '1234\n' });
        assert.deepEqual([exit, stderr], [64, 'keyagent: which token? name one of: web, backup\n']);
      }
      assert.ok(agent.asked.every(([, method]) => method === 'status'));
    });

    it('unlocks every token where nothing has to be typed', async () => {
      agent.answers.status = status(web, backup);
      const { stdout } = await keyagent(agent, ['unlock', '--source', 'credential']);
      assert.equal(String(stdout), 'web unlocked\nbackup unlocked\n');
      assert.deepEqual(
        agent.asked.slice(1).map(([, , params]) => params),
        [
          { token: 'web', source: 'credential' },
          { token: 'backup', source: 'credential' },
        ],
      );
    });

    it('exits with 65 and lists the tokens for an unknown one', async () => {
      const { status: exit, stderr } = await keyagent(agent, ['unlock', 'db', '--stdin'], {
        stdin: '1234\n',
      });
      assert.deepEqual([exit, stderr], [65, 'keyagent: there is no token "db"; there is: web\n']);
    });

    it('passes --for and --force on', async () => {
      await keyagent(agent, ['unlock', 'web', '--stdin', '--for', '8h', '--force'], { stdin: '1234\n' });
      assert.deepEqual(agent.asked.at(-1)?.[2], {
        token: 'web',
        pin: '1234',
        via: 'prompt',
        for_ms: 28_800_000,
        force: true,
      });
    });

    it('exits with 64 and points to --stdin without a terminal', async () => {
      const { status: exit, stderr } = await keyagent(agent, ['unlock']);
      assert.equal(exit, 64);
      assert.match(stderr, /^keyagent: there is no terminal .* use --stdin/);
    });

    it('asks for no PIN where the token has its own pad', async () => {
      agent.answers.status = status({ ...web, flags: 'login-required protected-authentication-path' });
      assert.equal((await keyagent(agent, ['unlock'])).status, 0);
      assert.deepEqual(agent.asked.at(-1)?.[2], { token: 'web' });
    });

    it('asks for no PIN where the token is unlocked', async () => {
      agent.answers.status = status({ ...web, state: 'unlocked' });
      agent.answers.unlock = () => ({ token: 'web', state: 'unlocked', already: true });
      assert.equal(String((await keyagent(agent, ['unlock'])).stdout), 'web was unlocked already\n');
    });

    const refused: [token: Partial<TokenStatus>, exit: number, message: RegExp][] = [
      [{ state: 'absent', detail: 'no token "www" in any slot; insert it' }, 75, /insert it/],
      [{ flags: 'user-pin-locked' }, 77, /security officer/],
      [{ flags: 'user-pin-count-low user-pin-final-try' }, 77, /one wrong PIN now locks web; say --force/],
    ];
    for (const [token, exit, message] of refused) {
      it(`refuses before it asks for a PIN: ${JSON.stringify(token)}`, async () => {
        agent.answers.status = status({ ...web, ...token });
        const outcome = await keyagent(agent, ['unlock']);
        assert.equal(outcome.status, exit);
        assert.match(outcome.stderr, message);
        assert.equal(agent.asked.length, 1);
      });
    }

    it('prints one JSON document', async () => {
      const { stdout } = await keyagent(agent, ['unlock', '--stdin', '--json'], { stdin: '1234\n' });
      assert.deepEqual(JSON.parse(String(stdout)), {
        tokens: [{ token: 'web', state: 'unlocked', already: false }],
      });
    });
  });

  it('lock names a token or leaves it to the agent to lock all', async () => {
    agent.answers.lock = ({ token }) => ({ tokens: token === undefined ? ['web', 'backup'] : [token] });
    assert.equal(String((await keyagent(agent, ['lock', 'web'])).stdout), 'web locked\n');
    assert.equal(String((await keyagent(agent, ['lock'])).stdout), 'web locked\nbackup locked\n');
    assert.deepEqual(agent.asked, [
      ['control', 'lock', { token: 'web' }],
      ['control', 'lock', {}],
    ]);
  });

  it('stop and reload go to the control socket', async () => {
    agent.answers.stop = () => ({});
    agent.answers.reload = () => ({
      ...{ rules: 3, tokens: 3, rules_changed: true },
      ...{ added: ['a'], removed: ['r', 's'], replaced: ['p'], changed: ['c'] },
      settings: ['audit.on_error'],
    });
    assert.equal(String((await keyagent(agent, ['stop'])).stdout), 'keyagent has stopped\n');
    assert.equal(
      String((await keyagent(agent, ['reload'])).stdout),
      'configuration read: tokens 3, rules 3 (changed)\n' +
        'a added\nr removed\ns removed\np replaced: it needs another login\nc changed\naudit.on_error changed\n',
    );
    assert.deepEqual(
      agent.asked.map(([face, method]) => [face, method]),
      [
        ['control', 'stop'],
        ['control', 'reload'],
      ],
    );
  });

  it('stop tells of an agent that does not end', async (t) => {
    agent.answers.stop = () => ({});
    agent.isStuck = true;
    t.after(() => (agent.isStuck = false));
    t.mock.method(AbortSignal, 'timeout', () => AbortSignal.abort());
    const { status: exit, stderr } = await keyagent(agent, ['stop']);
    assert.equal(
      stderr,
      'keyagent: the agent stops, but has not ended in 30 s; wait, or end it with SIGKILL\n',
    );
    assert.equal(exit, 75);
  });
});
