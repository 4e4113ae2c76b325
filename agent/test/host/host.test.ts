import assert from 'node:assert/strict';
import { closeSync, openSync, readFileSync, readSync } from 'node:fs';
import { after, before, describe, test } from 'node:test';
import type { HostKey } from '@keyagent/agent/host/host-protocol.js';
import { HostProcess } from './host-process.js';
import { SoftHsm, pin, softhsmModule } from './softhsm.js';

const timeout = 60_000;
const open = { module: softhsmModule, uri: 'pkcs11:token=web', sessions: 4 };

void describe('a token host', { timeout }, () => {
  const hsm = new SoftHsm();
  const hosts: HostProcess[] = [];
  const start = (env: NodeJS.ProcessEnv = {}): HostProcess => {
    const host = new HostProcess({ ...hsm.env, ...env });
    hosts.push(host);
    return host;
  };

  before(() => {
    hsm.initToken('web');
    hsm.initToken('twin');
    hsm.initToken('twin');
    hsm.generate('web', 'EC:prime256v1', '01', 'www');
    hsm.generate('web', 'rsa:2048', '02', 'mail');
  });
  after(async () => {
    await Promise.all(hosts.map((host) => host.close()));
    hsm.remove();
  });

  test('opens the token that the URI names and describes it', async () => {
    const { token } = await start().call('open', open);
    assert.equal(token.label, 'web');
    assert.equal(token.model, 'SoftHSM v2');
    assert.equal(token.libraryVersion, '2.6');
    assert.match(token.serial, /^[0-9a-f]{16}$/);
    assert.deepEqual(token.flags, ['login-required']);
  });

  test('says which tokens there are when none matches', async () => {
    const call = start().call('open', { ...open, uri: 'pkcs11:token=missing' });
    await assert.rejects(call, { code: 'TOKEN_ABSENT', message: /no token matches .*"web"/ });
  });

  test('lists the candidates when several tokens match', async () => {
    const call = start().call('open', { ...open, uri: 'pkcs11:token=twin' });
    await assert.rejects(call, (error: { code: string; candidates: string[] }) => {
      assert.equal(error.code, 'AMBIGUOUS');
      assert.equal(error.candidates.length, 2);
      for (const uri of error.candidates) assert.match(uri, /^pkcs11:token=twin;serial=[0-9a-f]{16}$/);
      return true;
    });
  });

  test('lists the tokens that a URI matches without opening one, and then opens one of them', async () => {
    const host = start();
    const labels = async (uri: string): Promise<string[]> =>
      (await host.call('tokens', { module: softhsmModule, uri })).tokens.map(({ label }) => label).sort();
    assert.deepEqual(await labels('pkcs11:'), ['twin', 'twin', 'web']);
    assert.deepEqual(await labels('pkcs11:token=twin'), ['twin', 'twin']);
    assert.deepEqual(await labels('pkcs11:token=missing'), []);
    assert.equal((await host.call('open', open)).token.label, 'web');
    const missing = host.call('tokens', { module: '/nonexistent/pkcs11.so', uri: 'pkcs11:' });
    await assert.rejects(missing, { code: 'CONFIGURATION' });
  });

  test('may be asked to open again after it found no token', async () => {
    const host = start();
    await assert.rejects(host.call('open', { ...open, uri: 'pkcs11:token=missing' }), {
      code: 'TOKEN_ABSENT',
    });
    assert.equal((await host.call('open', open)).token.label, 'web');
  });

  test('does nothing before open, and opens once', async () => {
    const host = start();
    await assert.rejects(host.call('keys', {}), { code: 'INVALID' });
    await host.call('open', open);
    await assert.rejects(host.call('open', open), { code: 'INVALID' });
  });

  test('shows keys while locked, unverified, and signs with none of them', async () => {
    const host = start();
    await host.call('open', open);
    const { loggedIn, keys } = await host.call('keys', {});
    assert.equal(loggedIn, false);
    assert.deepEqual(summary(keys), [
      ['mail', '02', 'rsa', 2048, 'unverified'],
      ['www', '01', 'ec-p256', 256, 'unverified'],
    ]);
    assert.deepEqual(
      keys.map(({ ref }) => ref),
      [0, 0],
    );
    const sign = host.call('sign', { ref: 0, mechanism: 'ecdsa', hash: 'sha256', data: Buffer.alloc(32) });
    await assert.rejects(sign, { code: 'LOCKED' });
  });

  test('says that a PIN is wrong, shows the flag, and takes the right one afterwards', async () => {
    const host = start();
    await host.call('open', open);
    await assert.rejects(host.login('0000'), { code: 'PIN_INCORRECT', ckr: 'CKR_PIN_INCORRECT' });
    assert.ok((await host.call('token', {})).token.flags.includes('user-pin-count-low'));
    assert.deepEqual(await host.login(pin), { already: false });
    assert.deepEqual((await host.call('token', {})).token.flags, ['login-required']);
  });

  test('takes an empty PIN and one of the greatest length for wrong, not for none', async () => {
    const host = start();
    await host.call('open', open);
    await assert.rejects(host.login(''), { code: 'PIN_INCORRECT' });
    await assert.rejects(host.login(Buffer.alloc(256, 0x31)), { code: 'PIN_INCORRECT' });
    assert.deepEqual(await host.login(pin), { already: false });
  });

  test("a login without a PIN is the token's to refuse, and leaves the descriptor alone", async () => {
    const host = start();
    await host.call('open', open);
    await assert.rejects(host.call('login', { pin: false }), {
      code: 'TOKEN_ERROR',
      ckr: 'CKR_ARGUMENTS_BAD',
    });
    assert.deepEqual(await host.login(pin), { already: false });
  });

  test('a wrong PIN while logged in is no proof of anything', async () => {
    const host = start();
    await host.call('open', open);
    await host.login(pin);
    assert.deepEqual(await host.login('0000'), { already: true });
  });

  test('verifies every key once it is logged in, and numbers them for good', async () => {
    const host = start();
    await host.call('open', open);
    await host.login(pin);
    const { loggedIn, keys, unusable } = await host.call('keys', {});
    assert.equal(loggedIn, true);
    assert.deepEqual(unusable, []);
    assert.deepEqual(summary(keys), [
      ['mail', '02', 'rsa', 2048, 'verified'],
      ['www', '01', 'ec-p256', 256, 'verified'],
    ]);
    const again = await host.call('keys', {});
    assert.deepEqual(refs(again.keys), refs(keys));
    assert.ok(keys.every(({ ref }) => ref > 0));
  });

  test('says what the token does itself and what the host completes', async () => {
    const host = start();
    await host.call('open', open);
    await host.login(pin);
    const { keys } = await host.call('keys', {});
    const mail = keys.find(({ label }) => label === 'mail');
    assert.deepEqual(mail?.mechanisms, ['rsa-pkcs1', 'rsa-pss', 'rsa-oaep', 'rsa-pkcs1-tls']);
    assert.deepEqual(mail.completed, ['rsa-oaep', 'rsa-pkcs1-tls']);
    assert.deepEqual(keys.find(({ label }) => label === 'www')?.mechanisms, ['ecdsa']);
  });

  test('logout ends the login: signing is refused, and a login works again', async () => {
    const host = start();
    await host.call('open', open);
    await host.login(pin);
    const { keys } = await host.call('keys', {});
    const ref = keys.find(({ label }) => label === 'www')?.ref ?? 0;
    const sign = { ref, mechanism: 'ecdsa', hash: 'sha256', data: Buffer.alloc(32) } as const;
    await host.call('sign', sign);
    await host.call('logout', {});
    await assert.rejects(host.call('sign', sign), { code: 'LOCKED' });
    assert.equal((await host.call('keys', {})).loggedIn, false);
    assert.deepEqual(await host.login(pin), { already: false });
    await host.call('keys', {});
    assert.equal((await host.call('sign', sign)).signature.length, 64);
  });

  test('logout waits for signatures that run, and refuses none of their results', async () => {
    const host = start();
    await host.call('open', open);
    await host.login(pin);
    const { keys } = await host.call('keys', {});
    const ref = keys.find(({ label }) => label === 'mail')?.ref ?? 0;
    const sign = { ref, mechanism: 'rsa-pss', hash: 'sha256', data: Buffer.alloc(32) } as const;
    const running = Array.from({ length: 4 }, () => host.call('sign', sign));
    const [results] = await Promise.all([Promise.allSettled(running), host.call('logout', {})]);
    assert.deepEqual(
      results.map(({ status }) => status),
      ['fulfilled', 'fulfilled', 'fulfilled', 'fulfilled'],
    );
  });

  test('answers an operation that does not exist, and lives on', async () => {
    const host = start();
    await assert.rejects(host.call('constructor' as 'keys', {}), { code: 'UNSUPPORTED' });
    assert.equal((await host.call('open', open)).token.label, 'web');
  });

  test('ends when descriptor 3 closes, with status 0', async () => {
    const host = start();
    await host.call('open', open);
    assert.equal(await host.close(), 0);
    assert.equal(host.stderr, '');
  });

  test('ignores signals to its group and opens no inspector', async () => {
    const host = start();
    await host.call('open', open);
    for (const signal of ['SIGUSR1', 'SIGINT', 'SIGTERM', 'SIGHUP'] as const) host.child.kill(signal);
    assert.equal((await host.call('token', {})).token.label, 'web');
    assert.doesNotMatch(host.stderr, /Debugger listening/);
  });

  test('keeps no copy of the PIN in memory', { skip: process.getuid?.() !== 0 && 'needs root' }, async () => {
    const longPin = 'correct-horse-battery-staple-4711';
    hsm.initToken('pin', longPin);
    const host = start();
    await host.call('open', { ...open, uri: 'pkcs11:token=pin' });
    await host.login(longPin);
    const memory = readMemory(host.child.pid ?? 0);
    assert.ok(
      memory.some((region) => region.includes('pkcs11:token=pin')),
      'the scan finds what is there',
    );
    assert.deepEqual(
      memory.filter((region) => region.includes(longPin)),
      [],
    );
  });

  test('leaves no core dump', async () => {
    const host = start();
    await host.call('open', open);
    const limits = readFileSync(`/proc/${host.child.pid}/limits`, 'utf8');
    assert.match(limits, /Max core file size\s+0\s+0/);
  });
});

/** Every writable region of a process. */
function readMemory(pid: number): Buffer[] {
  const regions: Buffer[] = [];
  const memory = openSync(`/proc/${pid}/mem`, 'r');
  for (const line of readFileSync(`/proc/${pid}/maps`, 'utf8').split('\n')) {
    const [, from = '', to = ''] = /^([0-9a-f]+)-([0-9a-f]+) rw/.exec(line) ?? [];
    if (from === '') continue;
    const region = Buffer.alloc(Number(BigInt(`0x${to}`) - BigInt(`0x${from}`)));
    regions.push(region.subarray(0, readRegion(memory, region, BigInt(`0x${from}`))));
  }
  closeSync(memory);
  return regions;
}

/** @returns 0 for a region that the process gave back since its list was read */
function readRegion(memory: number, region: Buffer, from: bigint): number {
  try {
    return readSync(memory, region, 0, region.length, from);
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'EIO') return 0;
    throw error;
  }
}

function summary(keys: readonly HostKey[]): unknown[] {
  return keys
    .map(({ label, id, algorithm, bits, state }) => [
      label,
      Buffer.from(id).toString('hex'),
      algorithm,
      bits,
      state,
    ])
    .sort();
}

function refs(keys: readonly HostKey[]): unknown[] {
  return keys.map(({ ref, label }) => [label, ref]).sort();
}
