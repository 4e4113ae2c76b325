import assert from 'node:assert/strict';
import type { ChildProcess } from 'node:child_process';
import { subscribe, unsubscribe } from 'node:diagnostics_channel';
import { once } from 'node:events';
import { test } from 'node:test';
import { parsePkcs11Uri } from '@keyagent/protocol';
import type { TokenConfig } from '@keyagent/agent/config/config.js';
import type { HostResult } from '@keyagent/agent/host/host-protocol.js';
import { HostSlot } from '@keyagent/agent/token/host-slot.js';
import { keyIdentity } from '@keyagent/agent/token/served-key.js';
import { FaultModule } from '../host/fault-module.js';
import { SoftHsm, pin } from '../host/softhsm.js';

const limits = { operationMs: 60_000, loginMs: 60_000 };

/** Fills the slot with a process that is logged in; answers the process and how to sign. */
async function fill(slot: HostSlot): Promise<{
  host: ChildProcess;
  sign: () => Promise<HostResult<'sign'>>;
}> {
  let host: ChildProcess | undefined;
  const made = (message: unknown): void => {
    host = (message as { process: ChildProcess }).process;
  };
  subscribe('child_process', made);
  await slot.open().finally(() => unsubscribe('child_process', made));
  await slot.login(Buffer.from(pin));
  const [key] = (await slot.keys()).keys;
  assert.ok(host !== undefined && key !== undefined);
  const data = Buffer.alloc(32);
  return {
    host,
    sign: () =>
      slot.perform('sign', keyIdentity(key), (ref) => ({ ref, mechanism: 'ecdsa', hash: 'sha256', data })),
  };
}

for (const [code, rv] of [
  ['LOCKED', '0x101'],
  ['TOKEN_ABSENT', '0x32'],
] as const) {
  test(`a retired host that answers ${code} late leaves its successor as it is, and so does its end`, async (t) => {
    const hsm = new SoftHsm();
    hsm.initToken('web');
    hsm.generate('web', 'EC:prime256v1', '01', 'www');
    const faults = new FaultModule(hsm, 'faults');
    const { module, env } = faults;
    const uri = parsePkcs11Uri('pkcs11:token=web');
    const told: string[] = [];
    const slot = new HostSlot({ name: 'web', module, uri, sessions: 1, env } as TokenConfig, limits, {
      found: () => undefined,
      exit: (_, how) => told.push(how),
      left: () => told.push('left'),
    });
    t.after(() => {
      slot.kill();
      hsm.remove();
    });
    const { host: retired, sign } = await fill(slot);
    retired.kill('SIGSTOP');
    const late = sign();
    slot.retire();
    const successor = await fill(slot);
    faults.set(`C_SignInit rv=${rv}`);
    retired.kill('SIGCONT');
    await assert.rejects(late, { code });
    assert.deepEqual([slot.loggedIn, told], [true, []]);
    await once(retired, 'close');
    assert.deepEqual([slot.loggedIn, told], [true, []]);
    faults.set();
    assert.equal((await successor.sign()).signature.length, 64);
  });
}
