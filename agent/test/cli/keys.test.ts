import assert from 'node:assert/strict';
import { createHash, generateKeyPairSync } from 'node:crypto';
import { readFileSync, statSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { Readable } from 'node:stream';
import { after, before, beforeEach, describe, it } from 'node:test';
import { AgentError, type Result } from '@keyagent/protocol';
import { keyagent } from './command.js';
import { FakeAgent } from './fake-agent.js';

const uri = 'pkcs11:token=web;object=www';
const publicKey = generateKeyPairSync('ed25519').publicKey;
const signature = Buffer.from([0x30, 0x00, 0x0a, 0xff]);

function key(certificates: Uint8Array[]): Result<'key'> {
  return {
    uri: `${uri};id=%01;type=private`,
    token: 'web',
    token_state: 'locked',
    state: 'verified',
    algorithm: 'ed25519',
    bits: 256,
    spki: publicKey.export({ type: 'spki', format: 'der' }),
    certificates,
    mechanisms: [],
    completed: [],
    usable: true,
  };
}

describe('keyagent for keys', () => {
  const agent = new FakeAgent();
  const file = (name: string): string => path.join(agent.directory, name);
  before(() => agent.start());
  after(() => agent.stop());
  beforeEach(() => {
    agent.asked.length = 0;
    agent.answers = {
      sign: () => ({ signature }),
      decrypt: () => ({ plaintext: Buffer.from([0, 1, 0xfe, 0xff]) }),
      key: () => key([Buffer.alloc(100, 1), Buffer.alloc(48, 2)]),
    };
  });
  const lastParams = (): Record<string, unknown> | undefined => agent.asked.at(-1)?.[2];

  describe('sign', () => {
    const sign = (alg: string, ...more: string[]): string[] => ['sign', '--key', uri, '--alg', alg, ...more];

    it('sends a short message whole and writes the raw signature', async () => {
      const { status, stdout, stderr } = await keyagent(agent, sign('ecdsa-sha256'), { stdin: 'hello\n' });
      assert.deepEqual([status, stdout, stderr], [0, signature, '']);
      assert.deepEqual(agent.asked, [
        [
          'client',
          'sign',
          { uri, alg: 'ecdsa-sha256', message: Buffer.from('hello\n'), deadline_ms: 30_000 },
        ],
      ]);
    });

    it('signs nothing at all as an empty message', async () => {
      assert.equal((await keyagent(agent, sign('ed25519'))).status, 0);
      assert.deepEqual(lastParams()?.message, Buffer.alloc(0));
    });

    it('sends 8192 bytes as a message and hashes one byte more', async () => {
      for (const [length, field] of [
        [8192, 'message'],
        [8193, 'digest'],
      ] as const) {
        const content = Buffer.alloc(length, 7);
        await keyagent(agent, sign('rsa-pss-sha384'), { stdin: content });
        const expected = field === 'message' ? content : createHash('sha384').update(content).digest();
        assert.deepEqual(
          [lastParams()?.[field], Object.keys(lastParams() ?? {}).includes(field)],
          [expected, true],
        );
      }
    });

    it('hashes a long file chunk by chunk', async () => {
      const content = Buffer.alloc(5_000_000, 'keyagent');
      writeFileSync(file('long'), content);
      await keyagent(agent, sign('rsa-pkcs1-sha512', '--in', file('long')));
      assert.deepEqual(lastParams()?.digest, createHash('sha512').update(content).digest());
      await keyagent(agent, sign('rsa-pkcs1-sha512'), {
        stdin: Readable.from([
          content.subarray(0, 8000),
          content.subarray(8000, 8200),
          content.subarray(8200),
        ]),
      });
      assert.deepEqual(lastParams()?.digest, createHash('sha512').update(content).digest());
    });

    it('refuses a long message for Ed25519, which cannot be hashed here', async () => {
      const { status, stderr } = await keyagent(agent, sign('ed25519'), { stdin: Buffer.alloc(8193) });
      assert.equal(status, 65);
      assert.match(stderr, /ed25519 signs at most 8192 bytes/);
      assert.deepEqual(agent.asked, []);
    });

    it('takes a raw digest of the right length only', async () => {
      assert.equal(
        (await keyagent(agent, sign('ecdsa-sha384', '--digest'), { stdin: Buffer.alloc(48, 9) })).status,
        0,
      );
      assert.deepEqual(lastParams()?.digest, Buffer.alloc(48, 9));
      for (const length of [0, 32, 47, 49, 96, 10_000]) {
        agent.asked.length = 0;
        const outcome = await keyagent(agent, sign('ecdsa-sha384', '--digest'), {
          stdin: Buffer.alloc(length),
        });
        assert.equal(outcome.status, 65);
        assert.match(outcome.stderr, /a sha384 digest has 48 bytes, the input/);
        assert.deepEqual(agent.asked, []);
      }
    });

    it('asks for r||s with --p1363', async () => {
      await keyagent(agent, sign('ecdsa-sha256', '--p1363'), { stdin: 'x' });
      assert.equal(lastParams()?.format, 'p1363');
    });

    it('reads and writes files', async () => {
      writeFileSync(file('message'), 'text');
      const { status, stdout } = await keyagent(
        agent,
        sign('ed25519', '--in', file('message'), '--out', file('sig')),
      );
      assert.deepEqual([status, stdout.length, readFileSync(file('sig'))], [0, 0, signature]);
    });

    it('prints base64 with --json', async () => {
      const { stdout } = await keyagent(agent, sign('ed25519', '--json'), { stdin: 'x' });
      assert.equal(String(stdout), `{"signature":"${signature.toString('base64')}"}\n`);
    });

    it('exits with 66 where the input and 73 where the output is out of reach', async () => {
      const missing = await keyagent(agent, sign('ed25519', '--in', file('none')));
      assert.equal(missing.status, 66);
      assert.match(
        missing.stderr,
        /^keyagent: .*none: cannot be read \(ENOENT\); name a readable file with --in\n$/,
      );
      const nowhere = await keyagent(agent, sign('ed25519', '--out', file('none/sig')), { stdin: 'x' });
      assert.equal(nowhere.status, 73);
      assert.match(nowhere.stderr, /none\/sig: cannot be written \(ENOENT\); name another with --out\n$/);
    });

    it('leaves the output file alone when the agent refuses', async () => {
      agent.answers.sign = () => {
        throw new AgentError('LOCKED', 'token web is locked; run "keyagent unlock web"');
      };
      writeFileSync(file('kept'), 'before');
      const { status } = await keyagent(agent, sign('ed25519', '--out', file('kept')), { stdin: 'x' });
      assert.deepEqual([status, readFileSync(file('kept'), 'utf8')], [75, 'before']);
    });
  });

  describe('decrypt', () => {
    const decrypt = (alg: string, ...more: string[]): string[] => [
      'decrypt',
      '--key',
      uri,
      '--alg',
      alg,
      ...more,
    ];

    it('writes the plaintext as it is', async () => {
      const { status, stdout } = await keyagent(agent, decrypt('rsa-oaep-sha256'), {
        stdin: Buffer.alloc(256, 3),
      });
      assert.deepEqual([status, stdout], [0, Buffer.from([0, 1, 0xfe, 0xff])]);
      assert.deepEqual(lastParams(), {
        uri,
        alg: 'rsa-oaep-sha256',
        ciphertext: Buffer.alloc(256, 3),
        deadline_ms: 30_000,
      });
    });

    it('passes both TLS versions on', async () => {
      await keyagent(agent, decrypt('rsa-pkcs1-tls', '--tls-version', '0x0303,0x0302'), { stdin: 'x' });
      assert.deepEqual([lastParams()?.client_version, lastParams()?.negotiated_version], [0x0303, 0x0302]);
    });

    it('creates the output file for its owner only', async () => {
      await keyagent(agent, decrypt('rsa-oaep-sha1', '--out', file('plain')), { stdin: 'x' });
      assert.equal(statSync(file('plain')).mode & 0o777, 0o600);
    });

    it('refuses what is longer than any RSA ciphertext', async () => {
      const { status } = await keyagent(agent, decrypt('rsa-oaep-sha1'), { stdin: Buffer.alloc(513) });
      assert.deepEqual([status, agent.asked], [65, []]);
    });
  });

  it('keys shows every page', async () => {
    const page = (name: string): Result<'keys'>['keys'] => [
      { uri: `pkcs11:object=${name}`, algorithm: 'rsa', bits: 2048, state: 'unverified' },
    ];
    agent.answers.keys = ({ after: last }) =>
      last === undefined ? { keys: page('one'), more: true } : { keys: page('two'), more: false };
    const { stdout } = await keyagent(agent, ['keys']);
    assert.equal(
      String(stdout),
      'URI                ALGORITHM  BITS  STATE\n' +
        'pkcs11:object=one  rsa        2048  unverified\n' +
        'pkcs11:object=two  rsa        2048  unverified\n',
    );
    assert.deepEqual(
      agent.asked.map(([, , params]) => params),
      [{}, { after: 'pkcs11:object=one' }],
    );
    const json = JSON.parse(String((await keyagent(agent, ['keys', '--json'])).stdout)) as Result<'keys'>;
    assert.deepEqual(
      json.keys.map((each) => each.uri),
      ['pkcs11:object=one', 'pkcs11:object=two'],
    );
  });

  it('keys does not wait for ever for an agent that only promises more', async () => {
    agent.answers.keys = () => ({ keys: [], more: true });
    assert.equal((await keyagent(agent, ['keys'])).status, 0);
    assert.equal(agent.asked.length, 1);
  });

  it('pubkey prints PEM that OpenSSL reads', async () => {
    const { stdout } = await keyagent(agent, ['pubkey', uri]);
    assert.equal(String(stdout), publicKey.export({ type: 'spki', format: 'pem' }));
  });

  it('cert prints the certificate, and its issuers with --chain', async () => {
    const block = (byte: number, length: number): string => {
      const lines =
        Buffer.alloc(length, byte)
          .toString('base64')
          .match(/.{1,64}/g) ?? [];
      return `-----BEGIN CERTIFICATE-----\n${lines.join('\n')}\n-----END CERTIFICATE-----\n`;
    };
    assert.equal(String((await keyagent(agent, ['cert', uri])).stdout), block(1, 100));
    assert.equal(
      String((await keyagent(agent, ['cert', uri, '--chain'])).stdout),
      block(1, 100) + block(2, 48),
    );
  });

  it('cert exits with 65 for a key without certificate', async () => {
    agent.answers.key = () => key([]);
    const { status, stderr } = await keyagent(agent, ['cert', uri]);
    assert.equal(status, 65);
    assert.match(stderr, /the token holds no certificate for pkcs11:/);
  });

  describe('ref', () => {
    it('prints the URI, and nothing else, as PEM', async () => {
      const { status, stdout, stderr } = await keyagent(agent, [
        'ref',
        'pkcs11:token=web;object=www;type=private',
      ]);
      assert.deepEqual([status, stderr], [0, '']);
      assert.equal(
        String(stdout),
        '-----BEGIN KEYAGENT KEY REFERENCE-----\n' +
          'cGtjczExOnRva2VuPXdlYjtvYmplY3Q9d3d3O3R5cGU9cHJpdmF0ZQ==\n' +
          '-----END KEYAGENT KEY REFERENCE-----\n',
      );
    });

    it('breaks lines after 64 columns', async () => {
      const long = `pkcs11:object=${'x'.repeat(200)}`;
      const lines = String((await keyagent(agent, ['ref', long])).stdout)
        .split('\n')
        .slice(1, -2);
      assert.deepEqual(
        lines.map((line) => line.length),
        [64, 64, 64, 64, 32],
      );
      assert.equal(Buffer.from(lines.join(''), 'base64').toString(), long);
    });

    it('writes a keyagent: name as a pkcs11: URI', async () => {
      const { stdout } = await keyagent(agent, ['ref', 'keyagent:my%20key', '--json']);
      assert.equal((JSON.parse(String(stdout)) as { uri: string }).uri, 'pkcs11:object=my%20key');
    });

    it('exits with 65 for an unknown key', async () => {
      agent.answers.key = () => {
        throw new AgentError('NOT_FOUND', 'no key matches; see "keyagent keys"');
      };
      const { status, stdout } = await keyagent(agent, ['ref', uri]);
      assert.deepEqual([status, stdout.length], [65, 0]);
    });

    it('works without an agent, and says that the key was not looked up', async () => {
      const { status, stdout, stderr } = await keyagent(agent, ['ref', uri, '--socket', file('none.sock')]);
      assert.equal(status, 0);
      assert.match(String(stdout), /^-----BEGIN KEYAGENT KEY REFERENCE-----\n/);
      assert.match(stderr, /^keyagent: the reference is good, but its key was not looked up: [^\n]+\n$/);
    });
  });
});
