/**
 * The OpenSSL provider in the openssl command: every algorithm by pkcs11: URI and by PEM key reference, checked by an
 * openssl that does not know the provider.
 */
import assert from 'node:assert/strict';
import { randomBytes } from 'node:crypto';
import { readFileSync, writeFileSync } from 'node:fs';
import { userInfo } from 'node:os';
import path from 'node:path';
import { after, before, test } from 'node:test';
import { Cleanup } from './support/cleanup.js';
import { mustRun, runCommand, type CommandResult } from './support/command.js';
import { deploy, type Deployment, type Reference } from './support/deployment.js';
import type { KeySpec } from './support/softhsm.js';

const keys = [
  { label: 'rsa', type: 'rsa:2048' },
  { label: 'p256', type: 'EC:prime256v1' },
  { label: 'p384', type: 'EC:secp384r1' },
  { label: 'p521', type: 'EC:secp521r1' },
  { label: 'ed25519', type: 'EC:edwards25519' },
] as const satisfies readonly KeySpec[];
type Label = (typeof keys)[number]['label'];
const labels = keys.map(({ label }) => label);
const hashes = ['sha256', 'sha384', 'sha512'] as const;

const cleanup = new Cleanup();
let deployment: Deployment;

before(async () => {
  const rules = [{ keys: 'pkcs11:', users: [userInfo().username], operations: ['sign', 'decrypt'] }];
  deployment = await deploy(cleanup, { keys, agent: { rules } });
  writeFileSync(file('message'), randomBytes(300));
  writeFileSync(file('long message'), randomBytes(100_000));
});
after(() => cleanup.run());

const file = (name: string): string => path.join(deployment.folder, name);
const publicKey = (label: string): string => deployment.token.key(label).publicKeyFile;
const certificate = (label: string): string => deployment.token.key(label).certificateFile;

/** openssl with the provider. */
const openssl = (...args: string[]): Promise<CommandResult> =>
  mustRun('openssl', args, { env: deployment.opensslEnv });
/** openssl without it: the judge. */
const plain = (...args: string[]): Promise<CommandResult> => mustRun('openssl', args);

const nameBy: Record<Reference, (label: Label) => Promise<string>> = {
  uri: (label) => Promise.resolve(deployment.uri(label, 'private')),
  pem: (label) => deployment.referenceFile(label),
};

for (const reference of ['uri', 'pem'] as const) {
  const keyName = nameBy[reference];

  test(`openssl dgst signs messages of every length, by ${reference}`, async () => {
    for (const label of ['rsa', 'p256', 'p384', 'p521'] as const) {
      const key = await keyName(label);
      for (const hash of hashes) {
        for (const message of ['message', 'long message']) {
          await openssl('dgst', `-${hash}`, '-sign', key, '-out', file('signature'), file(message));
          const proof = ['-verify', publicKey(label), '-signature', file('signature')];
          await plain('dgst', `-${hash}`, ...proof, file(message));
        }
      }
    }
  });

  test(`openssl dgst signs with PSS, by ${reference}`, async () => {
    const key = await keyName('rsa');
    for (const hash of hashes) {
      const pss = ['-sigopt', 'rsa_padding_mode:pss', '-sigopt', 'rsa_pss_saltlen:digest'];
      await openssl(
        ...['dgst', `-${hash}`, ...pss],
        ...['-sign', key, '-out', file('signature'), file('message')],
      );
      const proof = ['-verify', publicKey('rsa'), '-signature', file('signature')];
      await plain('dgst', `-${hash}`, ...pss, ...proof, file('message'));
    }
  });

  test(`openssl pkeyutl signs digests and Ed25519 messages, by ${reference}`, async () => {
    for (const label of labels) {
      const raw = label === 'ed25519';
      await plain('dgst', '-sha384', '-binary', '-out', file('digest'), file('message'));
      const input = raw
        ? ['-rawin', '-in', file('message')]
        : ['-pkeyopt', 'digest:sha384', '-in', file('digest')];
      await openssl('pkeyutl', '-sign', '-inkey', await keyName(label), ...input, '-out', file('signature'));
      const proof = ['-pubin', '-inkey', publicKey(label), '-sigfile', file('signature')];
      await plain('pkeyutl', '-verify', ...proof, ...input);
    }
  });

  test(`openssl req makes requests and certificates that verify, by ${reference}`, async () => {
    for (const label of labels) {
      const out = ['-subj', '/CN=localhost', '-out', file('out')];
      await openssl('req', '-new', '-key', await keyName(label), ...out);
      await plain('req', '-verify', '-noout', '-in', file('out'));
      await openssl('req', '-x509', '-key', await keyName(label), ...out);
      await plain('verify', '-CAfile', file('out'), file('out'));
    }
    const pss = ['-sigopt', 'rsa_padding_mode:pss', '-sigopt', 'rsa_pss_saltlen:digest'];
    await openssl(
      'req',
      '-x509',
      '-key',
      await keyName('rsa'),
      ...pss,
      '-subj',
      '/CN=x',
      '-out',
      file('out'),
    );
    const { stdout } = await plain('x509', '-in', file('out'), '-noout', '-text');
    assert.match(stdout, /rsassaPss[^]*Salt Length: 0x20/);
    await plain('verify', '-CAfile', file('out'), file('out'));
  });

  test(`openssl x509 issues certificates, by ${reference}`, async () => {
    for (const label of ['rsa', 'p384'] as const) {
      const key = await keyName(label);
      await openssl('req', '-x509', '-key', key, '-subj', '/CN=issuer', '-out', file('issuer'));
      const issuer = ['-CA', file('issuer'), '-CAkey', key];
      const subject = ['-new', '-subj', '/CN=subject', '-force_pubkey', publicKey('p256')];
      await openssl('x509', ...subject, ...issuer, '-days', '1', '-out', file('issued'));
      await plain('verify', '-partial_chain', '-trusted', file('issuer'), file('issued'));
    }
  });

  test(`openssl cms signs, by ${reference}`, async () => {
    const trust = ['-CAfile', deployment.authority.rootFile, '-purpose', 'any', '-binary', '-inform', 'DER'];
    const chain = ['-certfile', deployment.authority.chainFile];
    for (const label of ['rsa', 'p256', 'p384', 'p521'] as const) {
      for (const padding of label === 'rsa' ? [[], ['-keyopt', 'rsa_padding_mode:pss']] : [[]]) {
        const signer = ['-signer', certificate(label), '-inkey', await keyName(label), ...padding];
        const how = ['-sign', '-binary', '-nodetach', '-md', 'sha256', ...chain, '-outform', 'DER'];
        await openssl('cms', ...how, ...signer, '-in', file('message'), '-out', file('cms'));
        await plain('cms', '-verify', ...trust, '-in', file('cms'), '-out', file('out'));
        assert.deepEqual(readFileSync(file('out')), readFileSync(file('message')));
      }
    }
  });

  for (const hash of ['sha1', ...hashes]) {
    test(`openssl cms and pkeyutl decrypt OAEP with ${hash}, by ${reference}`, async () => {
      const key = await keyName('rsa');
      const oaep = ['rsa_padding_mode:oaep', `rsa_oaep_md:${hash}`];
      const keyOptions = oaep.flatMap((option) => ['-keyopt', option]);
      const envelope = ['-encrypt', '-binary', '-aes256', '-outform', 'DER', '-recip', certificate('rsa')];
      await plain('cms', ...envelope, ...keyOptions, '-in', file('message'), '-out', file('cms'));
      const recipient = ['-recip', certificate('rsa'), '-inkey', key];
      const sealed = ['-inform', 'DER', '-in', file('cms'), '-out', file('out')];
      await openssl('cms', '-decrypt', ...recipient, ...sealed);
      assert.deepEqual(readFileSync(file('out')), readFileSync(file('message')));

      writeFileSync(file('secret'), 'secret');
      const pkeyOptions = oaep.flatMap((option) => ['-pkeyopt', option]);
      const encrypt = ['-encrypt', '-pubin', '-inkey', publicKey('rsa'), '-in', file('secret')];
      await plain('pkeyutl', ...encrypt, ...pkeyOptions, '-out', file('sealed'));
      const decrypt = ['-decrypt', '-inkey', key, '-in', file('sealed')];
      assert.equal((await openssl('pkeyutl', ...decrypt, ...pkeyOptions)).stdout, 'secret');
    });
  }

  test(`openssl pkey writes the public key and never the private one, by ${reference}`, async () => {
    for (const label of labels) {
      const { stdout } = await openssl('pkey', '-in', await keyName(label), '-pubout');
      assert.equal(stdout, readFileSync(publicKey(label), 'utf8'));
      const env = deployment.opensslEnv;
      const whole = await runCommand('openssl', ['pkey', '-in', await keyName(label)], { env });
      assert.match(whole.stderr, /does not leave its token/);
      assert.equal(whole.stdout, '');
    }
  });
}

test('a URI gives the key, its public half, or its certificate, by its type', async () => {
  const kinds = async (uri: string) => {
    const { stdout } = await openssl('storeutl', '-noout', uri);
    return [...stdout.matchAll(/^\d+: (.*)$/gm)].map(([, kind]) => kind);
  };
  for (const label of labels) {
    assert.deepEqual(await kinds(deployment.uri(label, 'private')), ['Pkey']);
    assert.deepEqual(await kinds(deployment.uri(label, 'public')), ['Public key']);
    assert.deepEqual(await kinds(deployment.uri(label, 'cert')), ['Certificate']);
    assert.deepEqual(await kinds(`pkcs11:token=web;object=${label}`), ['Pkey', 'Certificate']);
    const { stdout } = await openssl('x509', '-in', deployment.uri(label, 'cert'));
    assert.equal(stdout, (await plain('x509', '-in', certificate(label))).stdout);
  }
  assert.deepEqual(await kinds('keyagent:p256'), ['Pkey', 'Certificate']);
});
