import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import pkcs11js from 'pkcs11js';
import { native, type Native, type Outcome } from '@keyagent/agent/native/index.js';

const timeout = 30_000;
const softhsm = '/usr/lib/softhsm/libsofthsm2.so';

void describe('a module in the addon', { timeout }, () => {
  const handle = Buffer.alloc(8);
  const mechanism = Buffer.alloc(8);
  const notAModule = { code: 'ERR_INVALID_ARG_TYPE', message: /what loadedModule returned/ };
  // Nobody called its C_Initialize: every function refuses.
  new pkcs11js.PKCS11().load(softhsm);
  const module = native.loadedModule(softhsm);

  test('is one that is loaded, and nothing else', () => {
    assert.throws(() => native.loadedModule('/usr/lib/x86_64-linux-gnu/p11-kit-proxy.so'), /not loaded/);
    assert.throws(() => native.loadedModule('libc.so.6'), /no C_GetFunctionList/);
    for (const other of [null, {}, 1, Buffer.alloc(8)] as never[]) {
      assert.throws(() => void native.login(other, handle, 1, null), notAModule);
      assert.throws(() => native.signInit(other, handle, mechanism, handle), notAModule);
      assert.throws(() => native.sign(other, handle, mechanism, handle, handle, 64), notAModule);
    }
  });

  test('login checks its arguments', () => {
    assert.throws(() => void native.login(module, handle.subarray(1), 1, null), { code: 'ERR_OUT_OF_RANGE' });
    assert.throws(() => void native.login(module, handle, 0, null), { code: 'ERR_OUT_OF_RANGE' });
    assert.throws(() => void native.login(module, handle, 1, Buffer.alloc(257)), {
      code: 'ERR_OUT_OF_RANGE',
    });
    assert.throws(() => void native.login(module, handle, 1, '1234' as never), {
      code: 'ERR_INVALID_ARG_TYPE',
    });
  });

  for (const name of ['sign', 'signAside', 'decryptAside'] as const) {
    const operate: (...args: Parameters<Native['sign']>) => Outcome | Promise<Outcome> = native[name];
    const outOfRange = { code: 'ERR_OUT_OF_RANGE' };

    test(`${name} checks its arguments`, () => {
      const short = handle.subarray(1);
      assert.throws(() => void operate(module, short, mechanism, handle, handle, 64), outOfRange);
      assert.throws(() => void operate(module, handle, short, handle, handle, 64), outOfRange);
      assert.throws(() => void operate(module, handle, Buffer.alloc(49), handle, handle, 64), outOfRange);
      assert.throws(() => void operate(module, handle, mechanism, short, handle, 64), outOfRange);
      assert.throws(() => void operate(module, handle, mechanism, handle, handle, 2049), outOfRange);
      assert.throws(() => void operate(module, handle, Buffer.alloc(12), handle, handle, 64), outOfRange);
      const notBytes = { code: 'ERR_INVALID_ARG_TYPE' };
      assert.throws(() => void operate(module, handle, mechanism, null, handle, 64), notBytes);
      assert.throws(() => void operate(module, handle, null, handle, handle, 64), notBytes);
    });

    test(`${name} says what the module said, of the first call or of the second`, async () => {
      const { CKR_CRYPTOKI_NOT_INITIALIZED: refused } = pkcs11js;
      assert.equal((await operate(module, handle, mechanism, handle, handle, 64))[0], refused);
      const [rv, microseconds] = await operate(module, handle, null, null, Buffer.alloc(0), 64);
      assert.equal(rv, refused);
      assert.ok(microseconds >= 0 && microseconds < 1e7, String(microseconds));
    });
  }

  for (const name of ['signInit', 'decryptInit'] as const) {
    test(`${name} says what the module said`, () => {
      const { CKR_CRYPTOKI_NOT_INITIALIZED: refused } = pkcs11js;
      assert.equal(native[name](module, handle, mechanism, handle), refused);
    });
  }
});
