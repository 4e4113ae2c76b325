import assert from 'node:assert/strict';
import { chmodSync, chownSync, mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { after, before, beforeEach, describe, it } from 'node:test';
import { socketPaths, type SocketOptions } from '@keyagent/agent/cli/sockets.js';
import { keyagent } from './command.js';
import { FakeAgent } from './fake-agent.js';

const euid = process.geteuid?.() ?? 0;
const base = mkdtempSync(path.join(tmpdir(), 'keyagent-sockets-'));
const config = path.join(base, 'keyagent.toml');
const runtime = path.join(base, 'run');

describe('socket paths', () => {
  before(() => {
    mkdirSync(path.join(runtime, 'keyagent'), { recursive: true });
    writeFileSync(config, '[agent]\nsocket = "/c/agent.sock"\ncontrol_socket = "/c/operators.sock"\n', {
      mode: 0o644,
    });
    writeFileSync(path.join(base, 'half.toml'), '[agent]\nsocket = "/h/agent.sock"\n', { mode: 0o644 });
  });
  after(() => rmSync(base, { recursive: true }));

  const nowhere = { HOME: base, XDG_CONFIG_HOME: path.join(base, 'none') };
  const cases: [
    name: string,
    options: SocketOptions,
    env: NodeJS.ProcessEnv,
    client: string,
    control: string,
  ][] = [
    [
      'options win',
      { socket: '/o/a.sock', controlSocket: '/p/c.sock' },
      { KEYAGENT_SOCK: '/e/a' },
      '/o/a.sock',
      '/p/c.sock',
    ],
    [
      'the control socket is beside a named socket',
      { socket: '/o/a.sock' },
      {},
      '/o/a.sock',
      '/o/control.sock',
    ],
    [
      'the client socket is beside a named control socket',
      { controlSocket: '/o/c.sock' },
      {},
      '/o/agent.sock',
      '/o/c.sock',
    ],
    [
      'the environment comes next',
      {},
      { KEYAGENT_SOCK: '/e/a.sock', KEYAGENT_CONFIG: config },
      '/e/a.sock',
      '/e/control.sock',
    ],
    [
      'both from the environment',
      {},
      { KEYAGENT_SOCK: '/e/a.sock', KEYAGENT_CONTROL_SOCK: '/f/c.sock' },
      '/e/a.sock',
      '/f/c.sock',
    ],
    ['then the configuration', { config }, {}, '/c/agent.sock', '/c/operators.sock'],
    ['as the environment names it', {}, { KEYAGENT_CONFIG: config }, '/c/agent.sock', '/c/operators.sock'],
    [
      'a configuration that names one socket',
      { config: path.join(base, 'half.toml') },
      {},
      '/h/agent.sock',
      '/h/control.sock',
    ],
    [
      "then a user's own agent",
      {},
      { XDG_RUNTIME_DIR: runtime },
      `${runtime}/keyagent/agent.sock`,
      `${runtime}/keyagent/control.sock`,
    ],
    [
      "then the system's",
      {},
      { XDG_RUNTIME_DIR: base },
      '/run/keyagent/agent.sock',
      '/run/keyagent/control.sock',
    ],
    ["the system's without a session", {}, {}, '/run/keyagent/agent.sock', '/run/keyagent/control.sock'],
  ];
  for (const [name, options, env, client, control] of cases) {
    it(`are found in order: ${name}`, () => {
      // A user's own files are accepted for that user; the tests may run as root.
      const around = { env: { ...nowhere, ...env }, euid: euid === 0 ? 1000 : euid };
      assert.deepEqual(socketPaths(options, around), { client, control });
    });
  }

  it('are an error where a named configuration is missing, broken or open to others', () => {
    const around = { env: nowhere, euid };
    const open = path.join(base, 'open.toml');
    writeFileSync(open, '');
    chmodSync(open, 0o666);
    const broken = path.join(base, 'broken.toml');
    writeFileSync(broken, '[agent\n', { mode: 0o644 });
    for (const [file, message] of [
      [path.join(base, 'missing.toml'), /no such file/],
      [open, /lets others write to it/],
      [broken, /broken\.toml:1: /],
    ] as const) {
      assert.throws(() => socketPaths({ config: file }, around), { code: 'CONFIGURATION', message });
    }
  });
});

describe('keyagent env', () => {
  const agent = new FakeAgent();
  before(() => agent.start());
  after(() => agent.stop());

  it('prints lines for a shell', async () => {
    const { stdout } = await keyagent(agent, ['env'], { env: { KEYAGENT_SOCK: '/run/keyagent/agent.sock' } });
    assert.equal(String(stdout), 'KEYAGENT_SOCK=/run/keyagent/agent.sock; export KEYAGENT_SOCK;\n');
  });

  it('quotes a path and names a control socket that is elsewhere', async () => {
    const { stdout } = await keyagent(agent, [
      'env',
      '--socket',
      "/tmp/it's $HOME/a",
      '--control-socket',
      '/c',
    ]);
    assert.equal(
      String(stdout),
      "KEYAGENT_SOCK='/tmp/it'\\''s $HOME/a'; export KEYAGENT_SOCK;\n" +
        'KEYAGENT_CONTROL_SOCK=/c; export KEYAGENT_CONTROL_SOCK;\n',
    );
  });
});

describe('a control socket of another user', { skip: euid !== 0 && 'only root can give files away' }, () => {
  const agent = new FakeAgent();
  before(() => agent.start());
  after(() => agent.stop());
  beforeEach(() => {
    agent.asked.length = 0;
    agent.answers = {
      status: () => ({
        agent: 'keyagent',
        pid: 1,
        uptime: 0,
        revoked: false,
        tokens: [{ name: 'web', state: 'locked' }],
      }),
      unlock: () => ({ token: 'web', state: 'unlocked', already: false }),
    };
    chownSync(agent.control, 33, 33);
  });

  it('gets no PIN', async () => {
    const { status, stderr } = await keyagent(agent, ['unlock', '--stdin'], { stdin: '1234\n' });
    assert.equal(status, 77);
    assert.match(stderr, /control\.sock belongs to uid 33/);
    assert.deepEqual(agent.asked, []);
  });
});
