/**
 * What else openssl signs with a key of the agent, judged by an openssl that does not know the provider: PKCS#7
 * messages, OCSP responses, and files from nothing to 100 MB.
 */
import assert from 'node:assert/strict';
import { X509Certificate } from 'node:crypto';
import { readFileSync, truncateSync, writeFileSync } from 'node:fs';
import { userInfo } from 'node:os';
import path from 'node:path';
import { after, before, test } from 'node:test';
import { Cleanup } from './support/cleanup.js';
import { mustRun, runCommand, type CommandResult } from './support/command.js';
import { deploy, type Deployment } from './support/deployment.js';
import type { KeySpec } from './support/softhsm.js';

const keys = [
  { label: 'rsa', type: 'rsa:2048' },
  { label: 'p256', type: 'EC:prime256v1' },
] as const satisfies readonly KeySpec[];
const labels = keys.map(({ label }) => label);

const cleanup = new Cleanup();
let deployment: Deployment;

before(async () => {
  const rules = [{ keys: 'pkcs11:', users: [userInfo().username], operations: ['sign'] }];
  deployment = await deploy(cleanup, { keys, agent: { rules } });
  writeFileSync(file('message'), 'message');
});
after(() => cleanup.run());

const file = (name: string): string => path.join(deployment.folder, name);
const certificate = (label: string): string => deployment.token.key(label).certificateFile;
const openssl = (...args: string[]): Promise<CommandResult> =>
  mustRun('openssl', args, { env: deployment.opensslEnv });
const plain = (...args: string[]): Promise<CommandResult> => mustRun('openssl', args);

for (const label of labels) {
  test(`openssl smime signs with ${label}, and a changed message does not verify`, async () => {
    const { chainFile, rootFile } = deployment.authority;
    const signer = ['-signer', certificate(label), '-inkey', deployment.uri(label, 'private')];
    await openssl(
      ...['smime', '-sign', '-binary', '-md', 'sha256', '-outform', 'DER', ...signer],
      ...['-certfile', chainFile, '-in', file('message'), '-out', file('p7')],
    );
    const verify = ['smime', '-verify', '-binary', '-inform', 'DER', '-in', file('p7'), '-purpose', 'any'];
    const trust = ['-CAfile', rootFile, '-out', file('out'), '-content'];
    await plain(...verify, ...trust, file('message'));
    writeFileSync(file('changed'), 'massage');
    const refused = await runCommand('openssl', [...verify, ...trust, file('changed')]);
    assert.notEqual(refused.status, 0);
    assert.match(refused.stderr, /digest failure|signature failure/);
  });

  test(`openssl ocsp answers with a response that ${label} signs`, async () => {
    const { chainFile } = deployment.authority;
    const subject = new X509Certificate(readFileSync(certificate(label)));
    const digits = new Date(subject.validTo).toISOString().replace(/\D/g, '').slice(2, 14);
    writeFileSync(file('index'), `V\t${digits}Z\t\t${subject.serialNumber}\tunknown\t/CN=localhost\n`);
    const question = ['-issuer', chainFile, '-cert', certificate(label)];
    await plain('ocsp', ...question, '-reqout', file('request'));
    await openssl(
      ...['ocsp', '-index', file('index'), '-CA', chainFile, '-rsigner', certificate(label)],
      ...['-rkey', deployment.uri(label, 'private'), '-ndays', '1'],
      ...['-reqin', file('request'), '-respout', file('response')],
    );
    const answer = ['ocsp', '-respin', file('response'), '-no_nonce', ...question, '-VAfile'];
    const { stdout, stderr } = await plain(...answer, certificate(label));
    assert.match(stderr, /Response verify OK/);
    assert.match(stdout, /: good$/m);
    const other = labels.find((name) => name !== label) ?? label;
    assert.match((await runCommand('openssl', [...answer, certificate(other)])).stderr, /Verify Failure/i);
  });

  test(`openssl dgst signs from 0 bytes to 100 MB with ${label}`, async () => {
    // Whole up to 8 KiB, then as a digest.
    for (const size of [0, 1, 8191, 8192, 8193, 100_000_000]) {
      writeFileSync(file('sized'), '');
      truncateSync(file('sized'), size);
      const signature = ['dgst', '-sha256', '-sign', deployment.uri(label, 'private')];
      await openssl(...signature, '-out', file('signature'), file('sized'));
      const proof = ['-verify', deployment.token.key(label).publicKeyFile, '-signature', file('signature')];
      await plain('dgst', '-sha256', ...proof, file('sized'));
    }
  });
}
