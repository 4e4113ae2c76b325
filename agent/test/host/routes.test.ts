import assert from 'node:assert/strict';
import {
  constants,
  createHash,
  createPublicKey,
  publicEncrypt,
  randomBytes,
  verify,
  type KeyObject,
} from 'node:crypto';
import { after, before, describe, test } from 'node:test';
import { hashLength } from '@keyagent/protocol';
import { FaultModule } from './fault-module.js';
import { HostProcess } from './host-process.js';
import { SoftHsm, pin } from './softhsm.js';

const message = Buffer.from('message');
const signHashes = ['sha256', 'sha384', 'sha512'] as const;
const oaepHashes = ['sha1', ...signHashes] as const;

/** Mechanisms and flags by number, as in the rules of the fault module. */
const noRawRsa = 'C_GetMechanismInfo mechanism=0x3 flags&=0';
const noPss = 'C_GetMechanismInfo mechanism=0xd flags&=0';
const noPkcs1 = 'C_GetMechanismInfo mechanism=0x1 flags&=0';
const noEcdsa = 'C_GetMechanismInfo mechanism=0x1041 flags&=0';
const pssRefused = 'C_SignInit mechanism=0xd rv=0x71';
const oaepRefused = 'C_DecryptInit mechanism=0x9 rv=0x71';

interface Opened {
  readonly host: HostProcess;
  readonly ref: number;
  readonly key: KeyObject;
  readonly mechanisms: readonly string[];
  readonly completed: readonly string[];
}

void describe('what the token lacks', { timeout: 60_000 }, () => {
  const hsm = new SoftHsm();
  const hosts: HostProcess[] = [];
  let number = 0;

  before(() => {
    hsm.initToken('web');
    hsm.generate('web', 'rsa:2048', '01', 'rsa');
    hsm.generate('web', 'EC:prime256v1', '02', 'ec');
  });
  after(async () => {
    await Promise.all(hosts.map((host) => host.close()));
    hsm.remove();
  });

  const openWith = async (...rules: string[]): Promise<Opened> => {
    const faults = new FaultModule(hsm, `routes-${number++}`);
    faults.set(...rules);
    const host = new HostProcess(faults.env);
    hosts.push(host);
    await host.call('open', { module: faults.module, uri: 'pkcs11:token=web', sessions: 2 });
    await host.login(pin);
    const { keys } = await host.call('keys', {});
    const rsa = keys.find(({ label }) => label === 'rsa');
    assert.ok(rsa);
    const { ref, mechanisms, completed } = rsa;
    const key = createPublicKey({ format: 'der', type: 'spki', key: Buffer.from(rsa.spki) });
    return { host, ref, key, mechanisms, completed };
  };

  const assertPss = async ({ host, ref, key }: Opened): Promise<void> => {
    for (const hash of signHashes) {
      const data = createHash(hash).update(message).digest();
      const { signature } = await host.call('sign', { ref, mechanism: 'rsa-pss', hash, data });
      const options = { padding: constants.RSA_PKCS1_PSS_PADDING, saltLength: hashLength[hash] };
      assert.ok(verify(hash, message, { key, ...options }, signature));
    }
  };
  const assertOaep = async ({ host, ref, key }: Opened): Promise<void> => {
    for (const hash of oaepHashes) {
      const secret = randomBytes(16);
      const ciphertext = publicEncrypt({ key, oaepHash: hash }, secret);
      const { plaintext } = await host.call('decrypt', { ref, mechanism: 'rsa-oaep', hash, ciphertext });
      assert.deepEqual(Buffer.from(plaintext), secret);
    }
  };

  for (const [what, rule] of [
    ['does not list', noPss],
    ['lists and refuses', pssRefused],
  ] as const) {
    test(`PSS that the token ${what} is padded in the host`, async () => {
      const opened = await openWith(rule);
      assert.ok(opened.completed.includes('rsa-pss'));
      await assertPss(opened);
    });
  }

  test('PKCS#1 v1.5 that the token does not list is padded in the host', async () => {
    const opened = await openWith(noPkcs1);
    const { host, ref, key, completed } = opened;
    assert.ok(completed.includes('rsa-pkcs1'));
    const data = createHash('sha384').update(message).digest();
    const { signature } = await host.call('sign', { ref, mechanism: 'rsa-pkcs1', hash: 'sha384', data });
    assert.ok(verify('sha384', message, key, signature));
  });

  test('OAEP that the token lists and refuses is unpadded in the host, SHA-1 too', async () => {
    const opened = await openWith(oaepRefused);
    assert.ok(opened.completed.includes('rsa-oaep'));
    await assertOaep(opened);
  });

  test('without raw RSA the token does what it can, and the rest is refused', async () => {
    const opened = await openWith(noRawRsa);
    const { host, ref, key, mechanisms, completed } = opened;
    assert.deepEqual(mechanisms, ['rsa-pkcs1', 'rsa-pss', 'rsa-oaep', 'rsa-pkcs1-tls']);
    assert.deepEqual(completed, []);
    await assertPss(opened);
    const secret = randomBytes(16);
    const sha1 = publicEncrypt({ key, oaepHash: 'sha1' }, secret);
    const bySha1 = await host.call('decrypt', { ref, mechanism: 'rsa-oaep', hash: 'sha1', ciphertext: sha1 });
    assert.deepEqual(Buffer.from(bySha1.plaintext), secret);
    const sha256 = { ref, mechanism: 'rsa-oaep', hash: 'sha256', ciphertext: sha1 } as const;
    await assert.rejects(host.call('decrypt', sha256), { code: 'MECHANISM' });
    const bad = { ref, mechanism: 'rsa-oaep', hash: 'sha1', ciphertext: Buffer.alloc(256, 1) } as const;
    for (let count = 0; count < 5; count++) {
      await assert.rejects(host.call('decrypt', bad), { code: 'DECRYPT_FAILED' });
    }
  });

  test('without raw RSA rsa-pkcs1-tls still has one outcome, and bad ciphertexts do not end the host', async () => {
    const { host, ref, key } = await openWith(noRawRsa);
    const tls = { ref, mechanism: 'rsa-pkcs1-tls', clientVersion: 0x0303, negotiatedVersion: 0 } as const;
    const secret = Buffer.concat([Buffer.of(3, 3), randomBytes(46)]);
    const encrypt = (data: Uint8Array): Buffer =>
      publicEncrypt({ key, padding: constants.RSA_PKCS1_PADDING }, data);
    const decrypt = async (ciphertext: Buffer): Promise<Buffer> =>
      Buffer.from((await host.call('decrypt', { ...tls, ciphertext })).plaintext);
    assert.deepEqual(await decrypt(encrypt(secret)), secret);
    const wrongVersion = Buffer.concat([Buffer.of(3, 2), secret.subarray(2)]);
    for (const bad of [
      encrypt(secret.subarray(1)),
      encrypt(wrongVersion),
      encrypt(Buffer.alloc(0)),
      Buffer.alloc(256, 1),
    ]) {
      const [first, second] = [await decrypt(bad), await decrypt(bad)];
      assert.equal(first.length, 48);
      assert.notDeepEqual(first, second);
    }
    assert.deepEqual(await decrypt(encrypt(secret)), secret);
  });

  test('a key for which nothing is left is unusable, with the reason', async () => {
    const { host } = await openWith(noEcdsa);
    const { keys, unusable } = await host.call('keys', {});
    assert.equal(
      keys.some(({ label }) => label === 'ec'),
      false,
    );
    assert.match(unusable.find(({ label }) => label === 'ec')?.reason ?? '', /C_GetMechanismList/);
  });
});
