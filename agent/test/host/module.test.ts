import assert from 'node:assert/strict';
import { chmodSync, copyFileSync } from 'node:fs';
import path from 'node:path';
import { after, before, describe, test } from 'node:test';
import { HostProcess } from './host-process.js';
import { SoftHsm, softhsmModule } from './softhsm.js';

const open = { module: softhsmModule, uri: 'pkcs11:token=web', sessions: 4 };

void describe('a token host', { timeout: 60_000 }, () => {
  const hsm = new SoftHsm();
  const hosts: HostProcess[] = [];
  const start = (): HostProcess => {
    const host = new HostProcess(hsm.env);
    hosts.push(host);
    return host;
  };

  before(() => hsm.initToken('web'));
  after(async () => {
    await Promise.all(hosts.map((host) => host.close()));
    hsm.remove();
  });

  test('refuses a module that is missing', async () => {
    const call = start().call('open', { ...open, module: '/nonexistent/pkcs11.so' });
    await assert.rejects(call, { code: 'CONFIGURATION', message: /cannot load \/nonexistent\/pkcs11\.so/ });
  });

  test('refuses a library that is not a PKCS#11 module', async () => {
    const { sharedObjects } = process.report.getReport() as { sharedObjects: string[] };
    const libm = sharedObjects.find((file) => path.basename(file) === 'libm.so.6') ?? '';
    const call = start().call('open', { ...open, module: libm });
    await assert.rejects(call, { code: 'CONFIGURATION', message: /C_GetFunctionList/ });
  });

  test('refuses a module that gives another function list at each call, as proxies of p11-kit do', async () => {
    const call = start().call('open', { ...open, module: '/usr/lib/x86_64-linux-gnu/p11-kit-proxy.so' });
    await assert.rejects(call, { code: 'CONFIGURATION', message: /another function list at each call/ });
  });

  test('loads no module that others could change, neither for a token nor for a look', async () => {
    const host = start();
    const module = path.join(hsm.directory, 'pkcs11.so');
    copyFileSync(softhsmModule, module);
    for (const mode of [0o775, 0o755]) {
      chmodSync(module, mode);
      const look = host.call('tokens', { module, uri: 'pkcs11:' });
      const opened = host.call('open', { ...open, module });
      if (mode === 0o755) await Promise.all([look, opened]);
      else {
        const refused = { code: 'CONFIGURATION', message: /mode 0775 lets others .* gets the PIN$/ };
        await Promise.all([assert.rejects(look, refused), assert.rejects(opened, refused)]);
      }
    }
  });
});
