/** The RSA key exchange of TLS 1.2 through a real agent: bad paddings and a good one cannot be told apart. */
import assert from 'node:assert/strict';
import { createPublicKey } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { test } from 'node:test';
import { connectCaller, type Params } from '@keyagent/protocol';
import { deployForTiming, inToken, table, throughAgent } from './report/premaster-timing.js';
import { median, welchT } from './report/statistics.js';
import { cleanupAfter } from './support/cleanup.js';
import { ciphertextOf, classes } from './support/premasters.js';

const tls12 = { client_version: 0x0303, negotiated_version: 0x0303 };

test('ten classes of bad padding and a good one: one status, one length, one record', async (t) => {
  const cleanup = cleanupAfter(t);
  const deployment = await deployForTiming(cleanup);
  const { agent, token } = deployment;
  const publicKey = createPublicKey(readFileSync(token.key('www').publicKeyFile));
  const caller = await connectCaller(agent.socket);
  cleanup.after(() => {
    caller.close();
  });
  const ask = async (ciphertext: Buffer, versions: Partial<Params<'decrypt'>> = tls12): Promise<Buffer> => {
    const params = {
      uri: deployment.uri('www', 'private'),
      alg: 'rsa-pkcs1-tls',
      ciphertext,
      ...versions,
    } as const;
    return Buffer.from((await caller.call('decrypt', params, { timeoutMs: 10_000 })).plaintext);
  };

  assert.equal(Object.keys(classes).length, 11);
  for (const name of Object.keys(classes)) {
    const ciphertext = ciphertextOf(name, publicKey);
    const answers = [await ask(ciphertext), await ask(ciphertext)] as const;
    assert.deepEqual(
      answers.map(({ length }) => length),
      [48, 48],
      name,
    );
    assert.equal(answers[0].equals(answers[1]), name === 'good', `${name}: random each time`);
  }
  const records = readFileSync(agent.auditFile, 'utf8')
    .split('\n')
    .filter((line) => line.includes('"decrypt"'));
  const shapes = records.map((line) => {
    const {
      seq: _seq,
      prev: _prev,
      time: _time,
      queue_us: _queue,
      token_us: _token,
      ...rest
    } = JSON.parse(line) as Record<string, unknown>;
    return JSON.stringify(rest);
  });
  assert.deepEqual([records.length, new Set(shapes).size], [22, 1]);

  await t.test(
    'the version in the premaster is that of the ClientHello; another only if it is given as well',
    async () => {
      const ciphertext = ciphertextOf('good', publicKey);
      const secret = await ask(ciphertext);
      const given = async (client: number, negotiated: number) =>
        (await ask(ciphertext, { client_version: client, negotiated_version: negotiated })).equals(secret);
      assert.equal(await given(0x0303, 0), true);
      assert.equal(await given(0x0303, 0x0301), true);
      assert.equal(await given(0x0302, 0), false);
      assert.equal(await given(0x0302, 0x0302), false);
      for (const versions of [
        {},
        { client_version: 0x0303 },
        { client_version: 0x0304, negotiated_version: 0 },
      ]) {
        await assert.rejects(ask(ciphertext, versions), { code: 'INVALID' });
      }
    },
  );
});

test('the report on timing measures every class, through the agent and in the token', async (t) => {
  const deployment = await deployForTiming(cleanupAfter(t));
  for (const measured of [await throughAgent(deployment, 220), await inToken(deployment, 220)]) {
    assert.deepEqual(
      Object.values(measured).map(({ length }) => length),
      Array<number>(11).fill(20),
    );
    t.diagnostic(`\n${table(measured)}`);
  }
});

test('its statistics tell series apart that differ, and no others', () => {
  const noise = (i: number): number => ((i * 7919) % 101) / 10;
  const series = (offset: number, from: number): number[] =>
    Array.from({ length: 2000 }, (_, i) => 500 + offset + noise(i + from));
  assert.equal(median([3, 1, 2]), 2);
  assert.ok(Math.abs(welchT(series(0, 0), series(0, 37))) < 4.5);
  assert.ok(Math.abs(welchT(series(1, 0), series(0, 37))) > 4.5);
});
