import assert from 'node:assert/strict';
import { after, before, beforeEach, describe, it } from 'node:test';
import { AgentError, errorTable, type ErrorCode } from '@keyagent/protocol';
import { keyagent } from './command.js';
import { FakeAgent } from './fake-agent.js';

describe('keyagent errors', () => {
  const agent = new FakeAgent();
  before(() => agent.start());
  after(() => agent.stop());
  beforeEach(() => {
    agent.answers = {};
    agent.asked.length = 0;
  });

  const exits: [code: ErrorCode, status: number][] = [
    ['INVALID', 65],
    ['NOT_FOUND', 65],
    ['AMBIGUOUS', 65],
    ['MECHANISM', 65],
    ['DECRYPT_FAILED', 65],
    ['TOO_LARGE', 65],
    ['KEY_MISMATCH', 65],
    ['DENIED', 77],
    ['PIN_INCORRECT', 77],
    ['PIN_BLOCKED', 77],
    ['LOCKED', 75],
    ['BUSY', 75],
    ['TIMEOUT', 75],
    ['CANCELLED', 75],
    ['TOKEN_ABSENT', 75],
    ['TOKEN_ERROR', 75],
    ['SOURCE_FAILED', 75],
    ['STOPPING', 69],
    ['CONFIGURATION', 78],
    ['INTERNAL', 70],
    ['UNSUPPORTED', 76],
    ['MALFORMED', 76],
  ];
  for (const [code, status] of exits) {
    it(`exits with ${status} and one line for ${code}`, async () => {
      agent.answers.lock = () => {
        throw new AgentError(code, 'what happened; what to do');
      };
      const outcome = await keyagent(agent, ['lock']);
      assert.deepEqual(
        [outcome.status, outcome.stdout.length, outcome.stderr],
        [status, 0, 'keyagent: what happened; what to do\n'],
      );
    });
  }

  it('has an exit status for each error that travels', () => {
    const travelling = (Object.keys(errorTable) as ErrorCode[]).filter(
      (code) => errorTable[code].number < 200,
    );
    assert.deepEqual(new Set(exits.map(([code]) => code)), new Set(travelling));
  });

  it('writes errors as one JSON document with --json', async () => {
    agent.answers.key = () => {
      throw new AgentError('AMBIGUOUS', 'two keys match', { candidates: ['pkcs11:id=%01', 'pkcs11:id=%02'] });
    };
    const argv = ['pubkey', 'pkcs11:object=www'];
    assert.equal(
      (await keyagent(agent, argv)).stderr,
      'keyagent: two keys match; candidates: pkcs11:id=%01 pkcs11:id=%02\n',
    );
    for (const withJson of [
      ['--json', ...argv],
      [...argv, '--json'],
    ]) {
      const { status, stderr } = await keyagent(agent, withJson);
      assert.equal(status, 65);
      assert.deepEqual(JSON.parse(stderr), {
        error: {
          code: 'AMBIGUOUS',
          message: 'two keys match',
          candidates: ['pkcs11:id=%01', 'pkcs11:id=%02'],
        },
      });
    }
  });

  it('says when to try again', async () => {
    agent.answers.lock = () => {
      throw new AgentError('BUSY', 'too many requests', { retryAfterMs: 250 });
    };
    assert.equal(
      (await keyagent(agent, ['lock'])).stderr,
      'keyagent: too many requests (try again in 250 ms)\n',
    );
  });

  it('shows no control characters of an error text to a terminal', async () => {
    agent.answers.lock = () => {
      throw new AgentError('DENIED', 'no\n\u001b]0;title\u0007');
    };
    assert.equal((await keyagent(agent, ['lock'])).stderr, 'keyagent: no\\u000a\\u001b]0;title\\u0007\n');
  });

  it('exits with 69 where no agent listens', async () => {
    const env = {
      KEYAGENT_SOCK: `${agent.directory}/none.sock`,
      KEYAGENT_CONTROL_SOCK: `${agent.directory}/none.sock`,
    };
    for (const argv of [['status'], ['keys'], ['lock'], ['unlock', '--stdin'], ['cert', 'pkcs11:']]) {
      const { status, stderr } = await keyagent(agent, argv, { env, stdin: '1234\n' });
      assert.equal(status, 69, argv.join(' '));
      assert.match(stderr, /^keyagent: .*none\.sock: [^\n]*; [^\n]+\n$/);
    }
  });

  const usage: [argv: string[], message: RegExp][] = [
    [[], /no command given/],
    [['frobnicate'], /unknown command 'frobnicate'/],
    [['statsu'], /Did you mean status/],
    [['status', '--bogus'], /unknown option '--bogus'/],
    [['status', 'extra'], /too many arguments/],
    [['keyring'], /no command given/],
    [['keyring', 'get', 'web'], /unknown command 'get'/],
    [['keyring', 'set', 'No Token'], /is no name of a token/],
    [['cert'], /missing required argument 'uri'/],
    [['sign', '--alg', 'ed25519'], /required option '--key <uri>'/],
    [['sign', '--key', 'pkcs11:'], /required option '--alg <alg>'/],
    [
      ['sign', '--key', 'pkcs11:', '--alg', 'rsa'],
      /"rsa" is no algorithm to sign with; use one of: rsa-pkcs1-sha256/,
    ],
    [['sign', '--key', 'pkcs11:', '--alg', 'rsa-oaep-sha1'], /is no algorithm to sign with/],
    [['sign', '--key', 'pkcs11:', '--alg', 'toString'], /is no algorithm to sign with/],
    [['sign', '--key', 'pkcs11:', '--alg', 'ed25519', '--digest'], /leave --digest out/],
    [['sign', '--key', 'pkcs11:', '--alg', 'rsa-pss-sha256', '--p1363'], /--p1363 is a form of ECDSA/],
    [
      ['decrypt', '--key', 'pkcs11:', '--alg', 'ed25519'],
      /is no algorithm to decrypt with; use one of: rsa-oaep-sha1/,
    ],
    [['decrypt', '--key', 'pkcs11:', '--alg', 'rsa-pkcs1-tls'], /--tls-version belongs to rsa-pkcs1-tls/],
    [
      ['decrypt', '--key', 'pkcs11:', '--alg', 'rsa-oaep-sha1', '--tls-version', '0x0303,0x0303'],
      /--tls-version belongs/,
    ],
    [
      ['decrypt', '--key', 'pkcs11:', '--alg', 'rsa-pkcs1-tls', '--tls-version', '1.2'],
      /two versions such as 0x0303,0x0303/,
    ],
    [['unlock', '--for', '8'], /must be a duration/],
    [['unlock', '--for', '25d'], /must be a duration .*, at most 24 days/],
    [['unlock', '--source', 'memory'], /Allowed choices are credential/],
    [['unlock', '--stdin', '--source', 'keyring'], /cannot be used with/],
  ];
  for (const [argv, message] of usage) {
    it(`exits with 64 for "keyagent ${argv.join(' ')}" and asks nobody`, async () => {
      const { status, stdout, stderr } = await keyagent(agent, argv);
      assert.deepEqual([status, stdout.length, agent.asked], [64, 0, []]);
      assert.match(stderr, /^keyagent: [^\n]+\n$/);
      assert.match(stderr, message);
    });
  }

  it('says usage errors as JSON too', async () => {
    const { status, stderr } = await keyagent(agent, ['frobnicate', '--json']);
    assert.equal(status, 64);
    assert.equal((JSON.parse(stderr) as { error: { code: string } }).error.code, 'USAGE');
  });

  const refusedUris = [
    'www',
    'http://www',
    'pkcs11:object=a b',
    'pkcs11:object=a;object=b',
    'pkcs11:object=%zz',
    'pkcs11:object=www?pin-value=1234',
    'pkcs11:object=www?pin-source=file:/etc/pin',
    'pkcs11:object=www?module-path=/tmp/evil.so',
    'pkcs11:object=www?module-name=evil',
    `pkcs11:object=${'x'.repeat(1024)}`,
    'keyagent:',
  ];
  for (const uri of refusedUris) {
    it(`exits with 65 for ${uri.slice(0, 60)} and asks nobody`, async () => {
      const commands = [
        ['cert', uri],
        ['pubkey', uri],
        ['ref', uri],
        ['sign', '--alg', 'ed25519', '--key', uri],
        ['decrypt', '--alg', 'rsa-oaep-sha1', '--key', uri],
      ];
      for (const argv of commands) {
        const { status, stdout, stderr } = await keyagent(agent, argv);
        assert.deepEqual([status, stdout.length, agent.asked], [65, 0, []], argv[0]);
        assert.match(stderr, /^keyagent: URI: [^\n]+\n$/);
        assert.ok(!stderr.includes('1234'), 'a PIN is not repeated');
      }
    });
  }

  it('prints help and version on standard output and exits with 0', async () => {
    for (const argv of [['--help'], ['help'], ['unlock', '--help'], ['help', 'unlock'], ['--version']]) {
      const { status, stdout, stderr } = await keyagent(agent, argv);
      assert.deepEqual([status, stderr], [0, ''], argv.join(' '));
      assert.match(
        String(stdout),
        argv.includes('--version') ? /^keyagent \d+\.\d+\.\d+\n$/ : /^Usage: keyagent/,
      );
    }
  });
});
