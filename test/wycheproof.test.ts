/**
 * Project Wycheproof's vectors, run through the agent: their private keys are imported into a SoftHSM token. The
 * files (its testvectors_v1) lie beside the checkout, or where KEYAGENT_WYCHEPROOF says.
 */
import assert from 'node:assert/strict';
import { constants, createPublicKey, publicEncrypt, randomBytes } from 'node:crypto';
import { existsSync, readFileSync, writeFileSync } from 'node:fs';
import { userInfo } from 'node:os';
import path from 'node:path';
import { test, type TestContext } from 'node:test';
import { connect, type Key } from '@keyagent/client';
import { AgentError } from '@keyagent/protocol';
import { startAgent } from './support/agent.js';
import { makeAuthority } from './support/authority.js';
import { cleanupAfter } from './support/cleanup.js';
import { mustRun } from './support/command.js';
import { root } from './support/paths.js';
import { scratchFolder } from './support/scratch.js';
import { SoftHsm } from './support/softhsm.js';

interface Case {
  readonly tcId: number;
  readonly msg: string;
  readonly ct?: string;
  readonly sig?: string;
  readonly label?: string;
  readonly result: 'valid' | 'invalid' | 'acceptable';
}
interface Group {
  readonly privateKeyPkcs8: string;
  readonly sha?: string;
  readonly tests: readonly Case[];
}

const folder = process.env.KEYAGENT_WYCHEPROOF ?? path.join(root, '../shared/vectors/wycheproof');
const skip = !existsSync(folder) && "needs Project Wycheproof's vectors, in KEYAGENT_WYCHEPROOF";
const tls12 = { clientVersion: 0x0303, negotiatedVersion: 0x0303 };

function groupsOf(file: string): readonly Group[] {
  const { testGroups } = JSON.parse(readFileSync(path.join(folder, `${file}.json`), 'utf8')) as {
    testGroups: readonly Group[];
  };
  return testGroups;
}

/** An agent whose token holds the key of each group, in the order of the groups. */
async function importKeys(t: TestContext, groups: readonly Group[]): Promise<Key[]> {
  const cleanup = cleanupAfter(t);
  const scratch = scratchFolder(cleanup);
  const hsm = new SoftHsm(scratch, await makeAuthority(scratch));
  const token = await hsm.makeToken('vectors', []);
  for (const [index, { privateKeyPkcs8 }] of groups.entries()) {
    const file = path.join(scratch, `key-${String(index)}`);
    writeFileSync(`${file}.der`, Buffer.from(privateKeyPkcs8, 'hex'));
    await mustRun('openssl', [
      'pkcs8',
      '-topk8',
      '-nocrypt',
      '-inform',
      'DER',
      '-in',
      `${file}.der`,
      '-out',
      file,
    ]);
    const id = (index + 1).toString(16).padStart(4, '0');
    const place = [
      '--token',
      token.label,
      '--pin',
      token.pin,
      '--label',
      `group-${String(index)}`,
      '--id',
      id,
    ];
    await mustRun('softhsm2-util', ['--import', file, ...place], { env: hsm.env });
  }
  const rules = [{ keys: 'pkcs11:', users: [userInfo().username] }];
  const agent = await startAgent(cleanup, { folder: scratch, hsm, tokens: [token], rules });
  await agent.unlock();
  const client = await connect({ socket: agent.socket });
  cleanup.after(() => client.close());
  return Promise.all(
    groups.map((_, index) => client.key(`pkcs11:token=vectors;object=group-${String(index)}`)),
  );
}

const hashOf: Record<string, 'sha256' | 'sha384' | 'sha512'> = {
  'SHA-256': 'sha256',
  'SHA-384': 'sha384',
  'SHA-512': 'sha512',
};

function hex(bytes: Uint8Array): string {
  return Buffer.from(bytes).toString('hex');
}

test(
  "Wycheproof: RSA PKCS#1 v1.5 signatures are the vectors', and other hashes are refused",
  { skip },
  async (t) => {
    const groups = groupsOf('rsa_pkcs1_2048_sig_gen_test');
    const keys = await importKeys(t, groups);
    const count = { equal: 0, refused: 0 };
    for (const [index, { sha = '', tests }] of groups.entries()) {
      const key = keys[index] as Key;
      const hash = hashOf[sha];
      for (const { tcId, msg, sig } of tests) {
        const message = Buffer.from(msg, 'hex');
        if (hash === undefined) {
          const alg = `rsa-pkcs1-${sha.toLowerCase().replace('-', '')}` as 'rsa-pkcs1-sha256';
          await assert.rejects(key.sign(alg, message), AgentError, `tcId ${String(tcId)}`);
          count.refused++;
        } else {
          assert.equal(hex(await key.sign(`rsa-pkcs1-${hash}`, message)), sig, `tcId ${String(tcId)}`);
          count.equal++;
        }
      }
    }
    assert.deepEqual(count, { equal: 27, refused: 16 });
  },
);

test(
  'Wycheproof: RSA-OAEP gives the plaintext of valid cases and one error for all others',
  { skip },
  async (t) => {
    const groups = groupsOf('rsa_oaep_2048_sha256_mgf1sha256_test');
    const [key] = (await importKeys(t, groups)) as [Key];
    const count = { equal: 0, refused: 0 };
    const errors = new Set<string>();
    for (const { tcId, msg, ct = '', label = '', result } of groups.flatMap(({ tests }) => tests)) {
      const decrypted = key.decrypt('rsa-oaep-sha256', Buffer.from(ct, 'hex'));
      if (result === 'valid' && label === '') {
        assert.equal(hex(await decrypted), msg, `tcId ${String(tcId)}`);
        count.equal++;
      } else {
        await assert.rejects(decrypted, (error) => {
          assert.ok(error instanceof AgentError, `tcId ${String(tcId)}`);
          errors.add(`${error.code}: ${error.message}`);
          return true;
        });
        count.refused++;
      }
    }
    assert.equal(errors.size, 1);
    assert.match([...errors].join(), /^DECRYPT_FAILED/);
    assert.deepEqual(count, { equal: 10, refused: 27 });
  },
);

test('Wycheproof: a TLS premaster is 48 random bytes for every vector', { skip }, async (t) => {
  const groups = groupsOf('rsa_pkcs1_2048_test');
  const keys = await importKeys(t, groups);
  const seen = new Set<string>();
  let count = 0;
  for (const [index, { tests }] of groups.entries()) {
    for (const { tcId, msg, ct = '' } of tests) {
      const key = keys[index] as Key;
      const premaster = await key.decrypt('rsa-pkcs1-tls', Buffer.from(ct, 'hex'), tls12);
      assert.equal(premaster.length, 48, `tcId ${String(tcId)}`);
      assert.notEqual(hex(premaster), msg, `tcId ${String(tcId)}`);
      seen.add(hex(premaster));
      count++;
    }
  }
  assert.equal(count, 67);
  assert.equal(seen.size, count);
});

test(
  'a good TLS premaster comes back, and one with a wrong version or length does not',
  { skip },
  async (t) => {
    const groups = groupsOf('rsa_pkcs1_2048_test').slice(0, 1);
    const [key] = (await importKeys(t, groups)) as [Key];
    const publicKey = createPublicKey(key.publicKey.export({ type: 'spki', format: 'pem' }));
    const encrypt = (secret: Buffer): Buffer =>
      publicEncrypt({ key: publicKey, padding: constants.RSA_PKCS1_PADDING }, secret);
    for (let i = 0; i < 200; i++) {
      const secret = Buffer.concat([Buffer.from([3, 3]), randomBytes(46)]);
      assert.equal(hex(await key.decrypt('rsa-pkcs1-tls', encrypt(secret), tls12)), hex(secret));
      for (const wrong of [secret.subarray(0, 47), Buffer.concat([secret, Buffer.from([0])])]) {
        assert.notEqual(
          hex(await key.decrypt('rsa-pkcs1-tls', encrypt(wrong), tls12)).slice(0, 94),
          hex(secret).slice(0, 94),
        );
      }
      const older = { clientVersion: 0x0302, negotiatedVersion: 0x0302 };
      assert.notEqual(hex(await key.decrypt('rsa-pkcs1-tls', encrypt(secret), older)), hex(secret));
    }
  },
);
