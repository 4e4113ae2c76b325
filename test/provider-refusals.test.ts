/** What a user reads when openssl cannot use a key through the provider: a reason by name, and what to do. */
import assert from 'node:assert/strict';
import { readFileSync, writeFileSync } from 'node:fs';
import { userInfo } from 'node:os';
import path from 'node:path';
import { after, before, test } from 'node:test';
import { Cleanup } from './support/cleanup.js';
import { mustRun, runCommand, type CommandResult } from './support/command.js';
import { deploy, type Deployment } from './support/deployment.js';
import { providerModule, root } from './support/paths.js';

const cleanup = new Cleanup();
let deployment: Deployment;

before(async () => {
  const users = [userInfo().username];
  const rules = [
    { keys: 'pkcs11:object=www', users, operations: ['sign', 'decrypt'] },
    // Seen, and so loaded, but not used to sign.
    { keys: 'pkcs11:object=forbidden', users, operations: ['decrypt'] },
    { keys: 'pkcs11:object=forbidden', users: ['daemon'], operations: ['sign'] },
    // An EC key decrypts nothing: so nobody uses it.
    { keys: 'pkcs11:object=useless', users, operations: ['decrypt'] },
  ];
  const keys = [
    { label: 'www', type: 'rsa:2048' },
    { label: 'forbidden', type: 'EC:prime256v1' },
    { label: 'useless', type: 'EC:prime256v1' },
  ] as const;
  deployment = await deploy(cleanup, { keys, spare: true, agent: { rules } });
  writeFileSync(file('message'), 'message');
});
after(() => cleanup.run());

const file = (name: string): string => path.join(deployment.folder, name);
const www = (): string => deployment.uri('www', 'private');

function openssl(args: readonly string[], env: Record<string, string> = {}): Promise<CommandResult> {
  return runCommand('openssl', args, { env: { ...deployment.opensslEnv, ...env } });
}

const sign = (key: string, env?: Record<string, string>): Promise<CommandResult> =>
  openssl(['dgst', '-sha256', '-sign', key, '-out', file('signature'), file('message')], env);

/** OpenSSL prints "THREAD:error:NUMBER:keyagent:FUNCTION:REASON:FILE:LINE:TEXT". */
function assertRefused(result: CommandResult, reason: string, ...texts: string[]): void {
  assert.notEqual(result.status, 0);
  const line = result.stderr.split('\n').find((text) => text.includes(':keyagent:'));
  assert.ok(line !== undefined, result.stderr);
  assert.equal(line.split(':')[5], reason, line);
  for (const text of texts) assert.ok(line.includes(text), line);
}

async function assertServes(): Promise<void> {
  const { status, stderr } = await sign(www());
  assert.equal(status, 0, stderr);
}

test('an unknown key is NOT FOUND, by URI and by reference', async () => {
  assertRefused(await sign('pkcs11:token=web;object=nobody'), 'NOT FOUND', 'object=nobody');
  const base64 = Buffer.from('pkcs11:token=web;object=nobody').toString('base64');
  const [begin, end] = ['BEGIN', 'END'].map((word) => `-----${word} KEYAGENT KEY REFERENCE-----`);
  writeFileSync(file('nobody.ref'), [begin, base64, end, ''].join('\n'));
  assertRefused(await sign(file('nobody.ref')), 'NOT FOUND', 'object=nobody');
  await assertServes();
});

test('a URI that several keys match is AMBIGUOUS, and the candidates are listed', async () => {
  assertRefused(await sign('pkcs11:object=www'), 'AMBIGUOUS', 'token=web', 'token=spare');
  assertRefused(await sign('keyagent:www'), 'AMBIGUOUS', 'token=web', 'token=spare');
  await assertServes();
});

for (const query of ['pin-value=1234', 'module-path=/tmp/x.so']) {
  test(`a URI with ${query} is INVALID`, async () => {
    assertRefused(await sign(`${www()}?${query}`), 'INVALID', query.split('=')[0] ?? '');
    await assertServes();
  });
}

test('a key that no rule lets sign is DENIED', async () => {
  assertRefused(await sign(deployment.uri('forbidden', 'private')), 'DENIED');
  await assertServes();
});

test('a key that no rule lets anybody use is DENIED when it is loaded, but not its certificate', async () => {
  const [key, certificate] = (['private', 'cert'] as const).map((type) => deployment.uri('useless', type));
  for (const reference of [String(key), await deployment.referenceFile('useless')]) {
    const texts = ['no rule lets anybody use', 'object=useless', 'keyagent reload'];
    assertRefused(await sign(reference), 'DENIED', ...texts);
  }
  await mustRun('openssl', ['x509', '-in', String(certificate), '-noout'], { env: deployment.opensslEnv });
});

test('with log = stderr it is said once more why a key was not loaded, and without it is not', async () => {
  const key = 'pkcs11:token=web;object=nobody';
  const own = (result: CommandResult): string[] => result.stderr.match(/^keyagent: .*$/gm) ?? [];
  assert.deepEqual(own(await sign(key)), []);
  const configuration = readFileSync(deployment.opensslEnv.OPENSSL_CONF ?? '', 'utf8');
  const withLog = async (word: string): Promise<CommandResult> => {
    writeFileSync(
      file('log.cnf'),
      configuration.replace('[keyagent_sect]', `[keyagent_sect]\nlog = ${word}`),
    );
    return sign(key, { OPENSSL_CONF: file('log.cnf') });
  };
  const [line, ...others] = own(await withLog('stderr'));
  assert.match(line ?? '', /^keyagent: NOT FOUND: .*object=nobody/);
  assert.deepEqual(others, []);
  assert.deepEqual(own(await withLog('none')), []);
  assertRefused(await withLog('loud'), 'INVALID', 'log = loud: write none or stderr');
});

test('a locked token is LOCKED, and after unlock the same command works', async () => {
  await deployment.agent.mustKeyagent(['lock', 'web']);
  assertRefused(await sign(www()), 'LOCKED', 'keyagent unlock');
  await deployment.agent.unlock();
  await assertServes();
});

test('no agent is AGENT UNAVAILABLE, with the path that was tried', async () => {
  const KEYAGENT_SOCK = file('nobody listens');
  assertRefused(await sign(www(), { KEYAGENT_SOCK }), 'AGENT UNAVAILABLE', KEYAGENT_SOCK);
  await assertServes();
});

test('what is no key reference is MALFORMED', async () => {
  const reference = readFileSync(await deployment.referenceFile('www'), 'utf8');
  const spoilt = { cut: reference.replace(/-----END[^]*/, ''), bent: reference.replace('\n', '\n!') };
  for (const [name, text] of Object.entries(spoilt)) {
    writeFileSync(file(name), text);
    assertRefused(await sign(file(name)), 'MALFORMED', 'keyagent ref');
  }
  await assertServes();
});

/** Arguments of `openssl pkeyutl` with the RSA key, and what is said. */
const unsupported: Record<string, [args: string[], text: string]> = {
  'PKCS#1 v1.5 decryption': [['-decrypt'], 'use OAEP'],
  'raw RSA decryption': [
    ['-decrypt', '-pkeyopt', 'rsa_padding_mode:none'],
    'RSA-OAEP and TLS premasters only',
  ],
  'OAEP with a label': [
    ['-decrypt', '-pkeyopt', 'rsa_padding_mode:oaep', '-pkeyopt', 'rsa_oaep_label:6162'],
    'label',
  ],
  'a raw RSA signature': [['-sign'], 'name the digest'],
  'a SHA-1 signature': [['-sign', '-rawin', '-digest', 'sha1'], 'SHA-1'],
  'a PSS salt of 20 bytes': [
    [
      ...['-sign', '-rawin', '-digest', 'sha256', '-pkeyopt', 'rsa_padding_mode:pss'],
      ...['-pkeyopt', 'rsa_pss_saltlen:20'],
    ],
    'as long as the hash',
  ],
};
for (const [what, [args, text]] of Object.entries(unsupported)) {
  test(`${what} is UNSUPPORTED`, async () => {
    const input = ['-inkey', www(), '-in', file('message')];
    assertRefused(await openssl(['pkeyutl', ...args, ...input]), 'UNSUPPORTED', text);
    await assertServes();
  });
}

test('the sample openssl.cnf works once its paths are filled in', async () => {
  const sample = readFileSync(path.join(root, 'clients/c/provider/openssl.cnf'), 'utf8');
  const configuration = sample
    .replace(/^module = .*/m, `module = ${providerModule}`)
    .replace(/^# socket = .*/m, `socket = ${deployment.agent.socket}`);
  for (const [name, text] of Object.entries({
    'plain.cnf': configuration,
    'node.cnf': configuration.replace('# export = refuse', 'export = public'),
  })) {
    writeFileSync(file(name), text);
    const { status, stderr } = await sign(www(), { OPENSSL_CONF: file(name) });
    assert.equal(status, 0, `${name}: ${stderr}`);
    const proof = ['-verify', deployment.token.key('www').publicKeyFile, '-signature', file('signature')];
    await mustRun('openssl', ['dgst', '-sha256', ...proof, file('message')]);
  }
});
