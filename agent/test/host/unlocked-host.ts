/** A token host that is open and logged in, with its keys by label. */
import type { HostKey, HostParams } from '@keyagent/agent/host/host-protocol.js';
import { HostProcess } from './host-process.js';
import { pin, softhsmModule } from './softhsm.js';

export interface UnlockOptions {
  readonly token?: string;
  readonly module?: string;
  readonly sessions?: number;
}

export class UnlockedHost {
  readonly process: HostProcess;
  readonly keys: ReadonlyMap<string, HostKey>;

  private constructor(process: HostProcess, keys: readonly HostKey[]) {
    this.process = process;
    this.keys = new Map(keys.map((key) => [key.label, key]));
  }

  static async start(env: NodeJS.ProcessEnv, options: UnlockOptions = {}): Promise<UnlockedHost> {
    const { token = 'web', module = softhsmModule, sessions = 4 } = options;
    const process = new HostProcess(env, sessions);
    await process.call('open', { module, uri: `pkcs11:token=${token}`, sessions });
    await process.login(pin);
    return new UnlockedHost(process, (await process.call('keys', {})).keys);
  }

  key(label: string): HostKey {
    const key = this.keys.get(label);
    if (key === undefined) throw new Error(`no key ${label}; there are ${[...this.keys.keys()].join(', ')}`);
    return key;
  }

  async sign(label: string, params: Omit<HostParams<'sign'>, 'ref'>): Promise<Uint8Array> {
    return (await this.process.call('sign', { ...params, ref: this.key(label).ref })).signature;
  }

  async decrypt(label: string, params: Omit<HostParams<'decrypt'>, 'ref'>): Promise<Uint8Array> {
    return (await this.process.call('decrypt', { ...params, ref: this.key(label).ref })).plaintext;
  }
}
