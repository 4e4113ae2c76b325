import assert from 'node:assert/strict';
import { createPublicKey, generateKeyPairSync, type KeyObject } from 'node:crypto';
import { after, before, describe, test } from 'node:test';
import { newIdentity, newKey, newRsaKey, pemOf } from './openssl.js';
import { SoftHsm } from './softhsm.js';
import { UnlockedHost } from './unlocked-host.js';

function spkiOf(key: KeyObject): Buffer {
  return createPublicKey(key).export({ format: 'der', type: 'spki' });
}

void describe('the keys of a token', { timeout: 120_000 }, () => {
  const hsm = new SoftHsm();
  const hosts: UnlockedHost[] = [];
  const unlock = async (token: string): Promise<UnlockedHost> => {
    const host = await UnlockedHost.start(hsm.env, { token });
    hosts.push(host);
    return host;
  };
  const sign = { mechanism: 'ecdsa', hash: 'sha256', data: Buffer.alloc(32, 1) } as const;

  before(() => {
    for (const label of ['chain', 'planted', 'mismatch', 'nameless', 'kinds']) hsm.initToken(label);
  });
  after(async () => {
    await Promise.all(hosts.map((host) => host.process.close()));
    hsm.remove();
  });

  test('carry their certificate and the issuers that the token holds, proven by signature', async () => {
    const root = newIdentity('root', { ca: true });
    const intermediate = newIdentity('intermediate', { ca: true, issuer: root });
    const impostor = newIdentity('intermediate', { ca: true, issuer: root });
    const leaf = newIdentity('www', { issuer: intermediate });
    hsm.importKey('chain', leaf.pem, '01', 'www');
    hsm.writeCertificate('chain', impostor.certificate.raw, '20', 'impostor');
    hsm.writeCertificate('chain', root.certificate.raw, '21', 'root');
    hsm.writeCertificate('chain', intermediate.certificate.raw, '22', 'intermediate');
    hsm.writeCertificate('chain', leaf.certificate.raw, '01', 'www');

    const key = (await unlock('chain')).key('www');
    assert.equal(key.state, 'verified');
    assert.deepEqual(
      key.certificates.map(({ der }) => Buffer.from(der)),
      [leaf, intermediate, root].map(({ certificate }) => certificate.raw),
    );
    assert.equal(key.certificates[0]?.label, 'www');
  });

  test('keep the certificate that lasts longest when several are theirs', async () => {
    const privateKey = newKey();
    const old = newIdentity('renewed', { privateKey, days: 1 });
    const renewed = newIdentity('renewed', { privateKey, days: 90 });
    hsm.importKey('chain', old.pem, '03', 'renewed');
    hsm.writeCertificate('chain', renewed.certificate.raw, '03', 'new');
    hsm.writeCertificate('chain', old.certificate.raw, '03', 'old');
    const key = (await unlock('chain')).key('renewed');
    assert.deepEqual(
      key.certificates.map(({ label }) => label),
      ['new'],
    );
  });

  test('ignore a planted certificate while another public object proves itself', async () => {
    hsm.generate('planted', 'EC:prime256v1', '01', 'www');
    hsm.writeCertificate('planted', newIdentity('planted').certificate.raw, '01', 'www');
    const host = await unlock('planted');
    assert.equal(host.key('www').state, 'verified');
    assert.deepEqual(host.key('www').certificates, []);
    assert.equal((await host.sign('www', sign)).length, 64);
  });

  for (const [kind, planted] of [
    ['EC', newKey()],
    ['RSA', newRsaKey()],
  ] as const) {
    test(`are disabled when all that the token shows for an ${kind} key is another's certificate`, async () => {
      const own = kind === 'EC' ? newKey() : newRsaKey();
      const label = `mismatch-${kind}`;
      const id = kind === 'EC' ? '01' : '02';
      hsm.importKey('mismatch', pemOf(own), id, label);
      hsm.deleteObject('mismatch', 'pubkey', id);
      hsm.writeCertificate(
        'mismatch',
        newIdentity('other', { privateKey: planted }).certificate.raw,
        id,
        label,
      );
      const host = await unlock('mismatch');
      assert.equal(host.key(label).state, 'mismatch');
      assert.deepEqual(host.key(label).certificates, []);
      const mechanism = kind === 'EC' ? 'ecdsa' : 'rsa-pss';
      await assert.rejects(host.sign(label, { ...sign, mechanism }), { code: 'KEY_MISMATCH' });
    });
  }

  test('are disabled when the certificate under their name is of another kind of key', async () => {
    hsm.importKey('mismatch', pemOf(newKey()), '03', 'other-kind');
    hsm.deleteObject('mismatch', 'pubkey', '03');
    const rsa = newIdentity('other', { privateKey: newRsaKey() });
    hsm.writeCertificate('mismatch', rsa.certificate.raw, '03', 'other-kind');
    assert.equal((await unlock('mismatch')).key('other-kind').state, 'mismatch');
  });

  test('find a certificate without CKA_ID by label, and by its public key', async () => {
    const byLabel = newIdentity('by label');
    const byKey = newIdentity('by key');
    hsm.importKey('nameless', byLabel.pem, '01', 'labelled');
    hsm.writeCertificate('nameless', byLabel.certificate.raw, undefined, 'labelled');
    hsm.importKey('nameless', byKey.pem, '02', 'www');
    hsm.writeCertificate('nameless', byKey.certificate.raw, undefined, 'some certificate');
    const host = await unlock('nameless');
    assert.deepEqual(Buffer.from(host.key('labelled').certificates[0]?.der ?? []), byLabel.certificate.raw);
    assert.deepEqual(Buffer.from(host.key('www').certificates[0]?.der ?? []), byKey.certificate.raw);
  });

  test('need no public object where the private one shows its modulus', async () => {
    const rsa = newRsaKey();
    hsm.importKey('kinds', pemOf(rsa), '01', 'rsa');
    hsm.deleteObject('kinds', 'pubkey', '01');
    const host = await unlock('kinds');
    assert.equal(host.key('rsa').state, 'verified');
    assert.deepEqual(Buffer.from(host.key('rsa').spki), spkiOf(rsa));
  });

  test('are unusable, with the reason, without any public data', async () => {
    hsm.importKey('kinds', pemOf(newKey()), '02', 'bare');
    hsm.deleteObject('kinds', 'pubkey', '02');
    const { unusable } = await (await unlock('kinds')).process.call('keys', {});
    const bare = unusable.find(({ label }) => label === 'bare');
    assert.match(bare?.reason ?? '', /curve or point is missing; write its public key or certificate/);
  });

  test('are unusable, with the reason, with RSA-1024 and with other curves', async () => {
    hsm.generate('kinds', 'rsa:1024', '03', 'short');
    hsm.generate('kinds', 'EC:secp256k1', '04', 'koblitz');
    const { unusable } = await (await unlock('kinds')).process.call('keys', {});
    const reasonOf = (wanted: string): string => unusable.find(({ label }) => label === wanted)?.reason ?? '';
    assert.match(reasonOf('short'), /RSA-1024 is not served/);
    assert.match(reasonOf('koblitz'), /curve is none of P-256, P-384, P-521/);
  });

  test('serve an imported Ed25519 key under the public key that OpenSSL knows', async () => {
    const { privateKey } = generateKeyPairSync('ed25519');
    hsm.importKey('kinds', pemOf(privateKey), '05', 'imported');
    const host = await unlock('kinds');
    assert.equal(host.key('imported').state, 'verified');
    assert.deepEqual(Buffer.from(host.key('imported').spki), spkiOf(privateKey));
  });

  test('show one entry for each name and public key while locked, and no bare issuers', async () => {
    const host = await unlock('chain');
    await host.process.call('logout', {});
    const { loggedIn, keys } = await host.process.call('keys', {});
    assert.equal(loggedIn, false);
    assert.deepEqual(keys.map(({ label, state }) => `${label} ${state}`).sort(), [
      'renewed unverified',
      'www unverified',
    ]);
    assert.equal(keys.find(({ label }) => label === 'www')?.certificates.length, 3);
  });
});
