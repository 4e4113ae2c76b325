import assert from 'node:assert/strict';
import { constants, createHash, createPublicKey, publicEncrypt, verify } from 'node:crypto';
import { after, before, describe, test } from 'node:test';
import type { HostParams } from '@keyagent/agent/host/host-protocol.js';
import { FaultModule } from './fault-module.js';
import { HostProcess } from './host-process.js';
import { SoftHsm, pin } from './softhsm.js';
import { UnlockedHost } from './unlocked-host.js';

const message = Buffer.from('message');
const data = createHash('sha256').update(message).digest();
const ecdsa = { mechanism: 'ecdsa', hash: 'sha256', data } as const;
const pss = { mechanism: 'rsa-pss', hash: 'sha256', data } as const;
const pkcs1 = { mechanism: 'rsa-pkcs1', hash: 'sha256', data } as const;

void describe('when the token fails', { timeout: 120_000 }, () => {
  const hsm = new SoftHsm();
  const hosts: HostProcess[] = [];
  let number = 0;

  before(() => {
    hsm.initToken('web');
    hsm.generate('web', 'EC:prime256v1', '01', 'ec');
    hsm.generate('web', 'rsa:2048', '02', 'rsa');
  });
  after(async () => {
    await Promise.all(hosts.map((host) => host.close()));
    hsm.remove();
  });

  const unlock = async (sessions = 4): Promise<{ host: UnlockedHost; faults: FaultModule }> => {
    const faults = new FaultModule(hsm, `faults-${number++}`);
    const host = await UnlockedHost.start(faults.env, { module: faults.module, sessions });
    hosts.push(host.process);
    return { host, faults };
  };
  const locked = async (): Promise<{ host: HostProcess; faults: FaultModule }> => {
    const faults = new FaultModule(hsm, `faults-${number++}`);
    const host = new HostProcess(faults.env);
    hosts.push(host);
    await host.call('open', { module: faults.module, uri: 'pkcs11:token=web', sessions: 4 });
    return { host, faults };
  };
  const signAndVerify = async (
    host: UnlockedHost,
    label: string,
    params: Omit<HostParams<'sign'>, 'ref'>,
  ): Promise<boolean> => {
    const signature = await host.sign(label, params);
    const key = createPublicKey({ format: 'der', type: 'spki', key: Buffer.from(host.key(label).spki) });
    const padding =
      params.mechanism === 'rsa-pss' ? { padding: constants.RSA_PKCS1_PSS_PADDING, saltLength: 32 } : {};
    return verify('sha256', message, { key, dsaEncoding: 'ieee-p1363', ...padding }, signature);
  };

  test('one C_Initialize and one C_Login serve everything', async () => {
    const { host, faults } = await unlock();
    await Promise.all(
      Array.from({ length: 40 }, (_, index) => host.sign(index % 2 ? 'ec' : 'rsa', index % 2 ? ecdsa : pss)),
    );
    assert.equal(faults.count('C_Initialize'), 1);
    assert.equal(faults.count('C_Login'), 1);
    const open = faults.count('C_OpenSession') - faults.count('C_CloseSession');
    assert.equal(open, 4, 'as many sessions as configured');
  });

  for (const params of [pss, pkcs1]) {
    test(`a faulty ${params.mechanism} signature never leaves the host, and its session is closed`, async () => {
      const { host, faults } = await unlock(1);
      const closed = faults.count('C_CloseSession');
      faults.set('C_Sign corrupt=1 count=1');
      await assert.rejects(host.sign('rsa', params), {
        code: 'TOKEN_ERROR',
        message: /does not verify was withheld/,
      });
      assert.equal(faults.count('C_CloseSession'), closed + 1);
      assert.ok(await signAndVerify(host, 'rsa', params));
    });
  }

  test('a result that is longer than it can be is an error, and nothing beyond its end is read', async () => {
    const { host, faults } = await unlock(1);
    for (const [label, params] of [
      ['ec', ecdsa],
      ['rsa', pkcs1],
    ] as const) {
      faults.set('C_Sign length=1000000 count=1');
      await assert.rejects(host.sign(label, params), {
        code: 'TOKEN_ERROR',
        message: /longer than it can be/,
      });
      assert.ok(await signAndVerify(host, label, params));
    }
  });

  for (const name of [
    'CKR_SESSION_HANDLE_INVALID 0xb3',
    'CKR_SESSION_CLOSED 0xb0',
    'CKR_KEY_HANDLE_INVALID 0x60',
    'CKR_OBJECT_HANDLE_INVALID 0x82',
  ]) {
    const rv = name.split(' ')[1] ?? '';
    for (const call of ['C_SignInit', 'C_Sign']) {
      test(`${name} at ${call} is recovered from, with one repeat and no login`, async () => {
        const { host, faults } = await unlock();
        const signed = faults.count('C_SignInit');
        faults.set(`${call} rv=${rv} count=1`);
        assert.ok(await signAndVerify(host, 'rsa', pss));
        assert.equal(faults.count('C_SignInit'), signed + 2);
        assert.equal(faults.count('C_Login'), 1);
      });
    }
    test(`${name} that stays is reported after one repeat`, async () => {
      const { host, faults } = await unlock();
      faults.set(`C_SignInit rv=${rv}`);
      const signed = faults.count('C_SignInit');
      await assert.rejects(host.sign('rsa', pss), { code: 'TOKEN_ERROR', ckr: name.split(' ')[0] });
      assert.equal(faults.count('C_SignInit'), signed + 2);
    });
  }

  test('a session that is lost among many requests costs none of them', async () => {
    const { host, faults } = await unlock();
    faults.set('C_SignInit rv=0xb3 skip=7 count=1');
    const jobs = Array.from({ length: 20 }, () => signAndVerify(host, 'rsa', pss));
    assert.deepEqual(new Set(await Promise.all(jobs)), new Set([true]));
    assert.equal(faults.count('C_Login'), 1);
  });

  test('a token that lost its sessions and the login with them is LOCKED, and works after a login', async () => {
    const { host, faults } = await unlock();
    faults.set('C_SignInit close_all=1 count=1');
    await assert.rejects(host.sign('rsa', pss), { code: 'LOCKED', ckr: 'CKR_USER_NOT_LOGGED_IN' });
    assert.equal((await host.process.call('keys', {})).loggedIn, false);
    assert.deepEqual(await host.process.login(pin), { already: false });
    await host.process.call('keys', {});
    assert.ok(await signAndVerify(host, 'rsa', pss));
    assert.ok(await signAndVerify(host, 'ec', ecdsa));
  });

  test('CKR_USER_NOT_LOGGED_IN is LOCKED, and stays so until a login', async () => {
    const { host, faults } = await unlock();
    faults.set('C_SignInit rv=0x101 count=1');
    await assert.rejects(host.sign('ec', ecdsa), { code: 'LOCKED', ckr: 'CKR_USER_NOT_LOGGED_IN' });
    const calls = faults.count('C_SignInit');
    await assert.rejects(host.sign('ec', ecdsa), { code: 'LOCKED' });
    assert.equal(faults.count('C_SignInit'), calls, 'the token is not asked again');
    assert.deepEqual(await host.process.login(pin), { already: false });
    await host.process.call('keys', {});
    assert.ok(await signAndVerify(host, 'ec', ecdsa));
  });

  test('CKR_SESSION_COUNT teaches the limit: requests queue, all are answered', async () => {
    const { host, faults } = await unlock();
    const opened = faults.count('C_OpenSession', 0);
    faults.set('C_OpenSession rv=0xb1');
    const jobs = Array.from({ length: 20 }, () => signAndVerify(host, 'rsa', pss));
    assert.deepEqual(new Set(await Promise.all(jobs)), new Set([true]));
    assert.equal(faults.count('C_OpenSession', 0), opened);
    assert.equal(faults.count('C_OpenSession', 0xb1), 1, 'one refusal is enough');
  });

  test('one session alone is enough for everything', async () => {
    const { host, faults } = await unlock(1);
    const jobs = Array.from({ length: 10 }, (_, index) =>
      index % 2 === 0 ? signAndVerify(host, 'rsa', pss) : signAndVerify(host, 'ec', ecdsa),
    );
    assert.deepEqual(new Set(await Promise.all(jobs)), new Set([true]));
    assert.equal(faults.count('C_Login'), 1);
  });

  test('an error in the only session does not end the login', async () => {
    const { host, faults } = await unlock(1);
    faults.set('C_Sign rv=0x30 count=1');
    await assert.rejects(host.sign('rsa', pss), { code: 'TOKEN_ERROR', ckr: 'CKR_DEVICE_ERROR' });
    assert.ok(await signAndVerify(host, 'rsa', pss));
    assert.equal(faults.count('C_Login'), 1);
  });

  test('a device error costs its session only; three in a row end the host after the reply', async () => {
    const { host, faults } = await unlock();
    faults.set('C_Sign rv=0x30 count=2');
    await assert.rejects(host.sign('rsa', pss), { ckr: 'CKR_DEVICE_ERROR' });
    await assert.rejects(host.sign('rsa', pss), { ckr: 'CKR_DEVICE_ERROR' });
    assert.ok(await signAndVerify(host, 'rsa', pss), 'a success between them starts the count anew');
    faults.set('C_Sign rv=0x30');
    for (let count = 0; count < 3; count++) {
      await assert.rejects(host.sign('rsa', pss), { code: 'TOKEN_ERROR', ckr: 'CKR_DEVICE_ERROR' });
    }
    assert.equal(await host.process.exited, 75);
    assert.match(host.process.stderr, /ends, the module returned CKR_DEVICE_ERROR/);
  });

  test('CKR_CRYPTOKI_NOT_INITIALIZED ends the host at once, after the reply', async () => {
    const { host, faults } = await unlock();
    faults.set('C_SignInit rv=0x190');
    await assert.rejects(host.sign('ec', ecdsa), {
      code: 'TOKEN_ERROR',
      ckr: 'CKR_CRYPTOKI_NOT_INITIALIZED',
    });
    assert.equal(await host.process.exited, 75);
  });

  test('a return value that nobody knows is a token error with its number', async () => {
    const { host, faults } = await unlock();
    faults.set('C_SignInit rv=0x80000123 count=1');
    await assert.rejects(host.sign('ec', ecdsa), { code: 'TOKEN_ERROR', ckr: 'CKR_0x80000123' });
  });

  test('a token that leaves is TOKEN_ABSENT, an event says so, and another that it is back', async () => {
    const { host, faults } = await unlock();
    faults.set('C_SignInit rv=0x32', 'C_GetTokenInfo rv=0xe0', 'C_GetSlotInfo rv=0xe0');
    await assert.rejects(host.sign('ec', ecdsa), { code: 'TOKEN_ABSENT', ckr: 'CKR_DEVICE_REMOVED' });
    assert.deepEqual(await host.process.event('presence'), { present: false });
    await assert.rejects(host.process.call('token', {}), { code: 'TOKEN_ABSENT' });
    await assert.rejects(host.process.login(pin), { code: 'TOKEN_ABSENT' });
    const logins = faults.count('C_Login');
    faults.set();
    assert.deepEqual(await host.process.event('presence'), { present: true });
    await assert.rejects(host.sign('ec', ecdsa), { code: 'LOCKED' });
    assert.equal(faults.count('C_Login'), logins, 'the login that was refused never reached the token');
    await host.process.login(pin);
    await host.process.call('keys', {});
    assert.ok(await signAndVerify(host, 'ec', ecdsa));
  });

  test('an idle token is polled, and its absence is told unasked', async () => {
    const { host, faults } = await unlock();
    faults.set('C_GetTokenInfo rv=0xe0');
    assert.deepEqual(await host.process.event('presence'), { present: false });
    faults.set();
    assert.deepEqual(await host.process.event('presence'), { present: true });
  });

  test('another token in the slot gets no PIN', async () => {
    const { host, faults } = await locked();
    faults.set('C_GetTokenInfo serial=ANOTHER');
    const absent = { code: 'TOKEN_ABSENT', message: /another token is in its place: web, serial ANOTHER/ };
    await assert.rejects(host.login(pin), absent);
    assert.equal(faults.count('C_Login'), 0);
    faults.set();
    assert.deepEqual(
      await host.login(pin),
      { already: false },
      'the PIN before was taken off the descriptor',
    );
  });

  for (const [name, code] of [
    ['CKR_PIN_INCORRECT 0xa0', 'PIN_INCORRECT'],
    ['CKR_PIN_LEN_RANGE 0xa2', 'PIN_INCORRECT'],
    ['CKR_PIN_LOCKED 0xa4', 'PIN_BLOCKED'],
    ['CKR_PIN_EXPIRED 0xa3', 'PIN_BLOCKED'],
    ['CKR_USER_PIN_NOT_INITIALIZED 0x102', 'PIN_BLOCKED'],
    ['CKR_DEVICE_ERROR 0x30', 'TOKEN_ERROR'],
    ['CKR_TOKEN_NOT_PRESENT 0xe0', 'TOKEN_ABSENT'],
  ] as const) {
    test(`${name} at C_Login is ${code}, and nothing is tried again`, async () => {
      const { host, faults } = await locked();
      const [ckr, rv] = name.split(' ');
      faults.set(`C_Login rv=${rv}`);
      await assert.rejects(host.login(pin), { code, ckr });
      assert.equal(faults.count('C_Login'), 1);
    });
  }

  test('flags of the token are told as they are', async () => {
    const { host, faults } = await locked();
    faults.set('C_GetTokenInfo flags|=0xf0100');
    const { token } = await host.call('token', {});
    assert.deepEqual(token.flags, [
      'login-required',
      'protected-authentication-path',
      'user-pin-count-low',
      'user-pin-final-try',
      'user-pin-locked',
      'user-pin-to-be-changed',
    ]);
  });

  test('a protected authentication path gets a NULL PIN', async () => {
    const { host, faults } = await locked();
    faults.set('C_Login require_null=1');
    await assert.rejects(host.login(pin), { ckr: 'CKR_ARGUMENTS_BAD' });
    assert.deepEqual(await host.call('login', { pin: false }), { already: false });
    assert.equal((await host.call('keys', {})).loggedIn, true);
  });

  test('a slow login holds up nothing else', async () => {
    const { host, faults } = await locked();
    faults.set('C_Login sleep_ms=2000');
    const order: string[] = [];
    const login = host.login(pin).then(() => order.push('login'));
    await faults.sleeps('C_Login');
    await host.call('keys', {}).then(() => order.push('keys'));
    await login;
    assert.deepEqual(order, ['keys', 'login']);
  });

  test('two logins at once take each its own PIN', async () => {
    const { host, faults } = await locked();
    const results = await Promise.allSettled([host.login('0000'), host.login(pin)]);
    assert.deepEqual(
      results.map(({ status }) => status),
      ['rejected', 'fulfilled'],
    );
    assert.equal(faults.count('C_Login'), 2);
  });

  test('digests of a wrong length reach no token', async () => {
    const { host, faults } = await unlock();
    const calls = faults.count('C_SignInit');
    for (const length of [0, 31, 33, 8192]) {
      await assert.rejects(host.sign('ec', { ...ecdsa, data: Buffer.alloc(length) }), { code: 'INVALID' });
    }
    assert.equal(faults.count('C_SignInit'), calls);
  });

  test('ciphertexts of a wrong length or beyond the modulus reach no token', async () => {
    const { host, faults } = await unlock();
    const calls = faults.count('C_DecryptInit');
    const tls = { mechanism: 'rsa-pkcs1-tls', clientVersion: 0x0303, negotiatedVersion: 0x0303 } as const;
    for (const ciphertext of [
      Buffer.alloc(0),
      Buffer.alloc(255),
      Buffer.alloc(257),
      Buffer.alloc(256, 0xff),
    ]) {
      assert.equal((await host.decrypt('rsa', { ...tls, ciphertext })).length, 48);
    }
    assert.equal(faults.count('C_DecryptInit'), calls);
  });

  test('a failing token is no bad ciphertext', async () => {
    const { host, faults } = await unlock();
    faults.set('C_Decrypt rv=0x30 count=1');
    const tls = { mechanism: 'rsa-pkcs1-tls', clientVersion: 0x0303, negotiatedVersion: 0x0303 } as const;
    const call = host.decrypt('rsa', { ...tls, ciphertext: Buffer.alloc(256, 1) });
    await assert.rejects(call, { code: 'TOKEN_ERROR', ckr: 'CKR_DEVICE_ERROR' });
    faults.set('C_Decrypt length=1000000 count=1');
    const spki = { format: 'der', type: 'spki', key: Buffer.from(host.key('rsa').spki) } as const;
    const key = { key: createPublicKey(spki), oaepHash: 'sha1' };
    const ciphertext = publicEncrypt(key, Buffer.from('secret'));
    const oaep = host.decrypt('rsa', { mechanism: 'rsa-oaep', hash: 'sha1', ciphertext });
    await assert.rejects(oaep, { code: 'TOKEN_ERROR', message: /longer than it can be/ });
  });

  test('a key whose token becomes slow holds up nobody for long, and one that fails slowly neither', async () => {
    const { host, faults } = await unlock();
    for (let i = 0; i < 64; i++) await host.sign('ec', ecdsa);
    for (const fault of ['C_Sign sleep_ms=1000', 'C_Sign sleep_ms=1000 rv=0x80000123']) {
      faults.set(fault);
      // The first ones may still run where all others wait.
      for (let i = 0; i < 3; i++) await host.sign('ec', ecdsa).catch(() => undefined);
      const order: string[] = [];
      const slow = host.sign('ec', ecdsa).then(
        () => order.push('signed'),
        () => order.push('failed'),
      );
      await host.process.call('token', {});
      order.push('told');
      await slow;
      assert.equal(order[0], 'told');
      faults.set();
      for (let i = 0; i < 64; i++) await host.sign('ec', ecdsa);
    }
  });

  test('a module that crashes ends the host, by signal', async () => {
    const { host, faults } = await unlock();
    faults.set('C_Sign abort=1');
    await assert.rejects(host.sign('ec', ecdsa), /the host ended/);
    assert.equal(host.process.child.signalCode, 'SIGABRT');
  });

  test('a failure in the middle of listing is told, and the next listing is whole', async () => {
    const { host, faults } = await unlock();
    faults.set('C_FindObjects rv=0x31 count=1');
    await assert.rejects(host.process.call('keys', {}), { code: 'TOKEN_ERROR', ckr: 'CKR_DEVICE_MEMORY' });
    assert.equal((await host.process.call('keys', {})).keys.length, 2);
  });

  test('a session that the token forgot costs no PIN', async () => {
    const { host, faults } = await locked();
    await host.call('keys', {});
    faults.set('C_GetTokenInfo close_all=1 count=1');
    assert.deepEqual(await host.login(pin), { already: false });
    assert.equal(faults.count('C_Login'), 1);
  });

  test('a module that hangs does not keep the host from ending', async () => {
    const { host, faults } = await locked();
    faults.set('C_Login sleep_ms=100000');
    const login = host.login(pin);
    await faults.sleeps('C_Login');
    await Promise.all([assert.rejects(login, /the host ended/), host.close()]);
    assert.equal(host.child.signalCode, 'SIGKILL');
  });

  test('a wrong C_Initialize is told with its name', async () => {
    const faults = new FaultModule(hsm, `faults-${number++}`);
    const host = new HostProcess(faults.env);
    hosts.push(host);
    faults.set('C_Initialize rv=0x5');
    const call = host.call('open', { module: faults.module, uri: 'pkcs11:token=web', sessions: 4 });
    await assert.rejects(call, {
      code: 'TOKEN_ERROR',
      message: /C_Initialize of .* failed with CKR_GENERAL_ERROR/,
    });
  });
});
