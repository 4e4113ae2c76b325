/** The ground on which all run side by side: one SoftHSM token, an agent as an operator would run it, p11-kit's server. */
import { writeFileSync } from 'node:fs';
import { userInfo } from 'node:os';
import path from 'node:path';
import { startAgent, type Agent, type AgentSpec } from '../support/agent.js';
import { makeAuthority, type Authority } from '../support/authority.js';
import type { Cleanup } from '../support/cleanup.js';
import { Daemon } from '../support/daemon.js';
import { writeOpensslConfig } from '../support/openssl-config.js';
import { softHsmModule } from '../support/paths.js';
import { scratchFolder } from '../support/scratch.js';
import { SoftHsm, type Token } from '../support/softhsm.js';
import { waitFor } from '../support/wait.js';
import type { SignerSpec } from './signer.js';

export type BenchKey = 'p256' | 'rsa2048';
/** To the same key. */
export type Way = 'keyagent' | 'provider' | 'p11-kit' | 'in process';

export const p11KitClient = '/usr/lib/x86_64-linux-gnu/pkcs11/p11-kit-client.so';

/** The last of twenty rules allows: every decision looks at all of them. */
export function twentyRules(users: readonly string[], purpose?: 'tls-server'): AgentSpec['rules'] {
  const others = Array.from({ length: 19 }, (_, i) => ({
    name: `other-${i}`,
    keys: `pkcs11:object=other-${i}*`,
    users: [...users],
    operations: ['sign'],
  }));
  return [...others, { name: 'bench', keys: 'pkcs11:', users: [...users], ...(purpose && { purpose }) }];
}

export class Field {
  readonly pinFile: string;
  readonly opensslEnv: Record<string, string>;

  constructor(
    readonly folder: string,
    readonly authority: Authority,
    readonly hsm: SoftHsm,
    readonly token: Token,
    readonly agent: Agent,
    private readonly p11Kit: string,
  ) {
    this.pinFile = path.join(folder, 'pin');
    writeFileSync(this.pinFile, `${token.pin}\n`, { mode: 0o600 });
    this.opensslEnv = writeOpensslConfig(path.join(folder, 'openssl.cnf'), agent.socket);
  }

  /** Every way to the same key, by name. */
  ways(key: BenchKey): Record<Way, SignerSpec> {
    const alg = key === 'p256' ? 'ecdsa-sha256' : 'rsa-pss-sha256';
    const uri = `pkcs11:token=${this.token.label};object=${key};type=private`;
    const common = { alg, spki: this.token.key(key).publicKeyFile } as const;
    const pkcs11 = {
      ...common,
      target: 'pkcs11',
      token: this.token.label,
      key,
      pinFile: this.pinFile,
    } as const;
    return {
      keyagent: { ...common, target: 'keyagent', uri, socket: this.agent.socket },
      provider: { ...common, target: 'openssl', uri, env: this.opensslEnv },
      'p11-kit': {
        ...pkcs11,
        module: p11KitClient,
        env: { P11_KIT_SERVER_ADDRESS: `unix:path=${this.p11Kit}` },
      },
      'in process': { ...pkcs11, module: softHsmModule, env: this.hsm.env },
    };
  }

  /** The agent and its token hosts. */
  get agentPid(): number {
    return this.agent.daemon.pid;
  }
}

interface FieldSpec extends Partial<AgentSpec> {
  /** Added to the environment of the token's module. */
  moduleEnv?: Record<string, string>;
}

export async function makeField(cleanup: Cleanup, spec: FieldSpec = {}): Promise<Field> {
  const { moduleEnv, tokenSettings, ...agentSpec } = spec;
  const folder = scratchFolder(cleanup);
  const authority = await makeAuthority(folder);
  const hsm = new SoftHsm(folder, authority);
  const token = await hsm.makeToken('bench', [
    { label: 'p256', type: 'EC:prime256v1' },
    { label: 'rsa2048', type: 'rsa:2048' },
  ]);
  const rules = twentyRules([userInfo().username]);
  const agent = await startAgent(cleanup, {
    folder,
    hsm,
    tokens: [token],
    tokenSettings: { ...tokenSettings, env: { ...hsm.env, ...moduleEnv } },
    ...(rules && { rules }),
    ...agentSpec,
  });
  await agent.unlock();
  return new Field(folder, authority, hsm, token, agent, await startP11Kit(cleanup, folder, hsm));
}

/** @returns the path of its socket */
async function startP11Kit(cleanup: Cleanup, folder: string, hsm: SoftHsm): Promise<string> {
  const socket = path.join(folder, 'p11-kit.sock');
  const server = new Daemon(cleanup, {
    command: 'p11-kit',
    args: ['server', '--foreground', '--provider', softHsmModule, '--name', socket, 'pkcs11:'],
    env: hsm.env,
    logFile: path.join(folder, 'p11-kit.log'),
  });
  await waitFor('p11-kit server listens', () => {
    server.mustRun();
    return server.log.includes('P11_KIT_SERVER_ADDRESS');
  });
  return socket;
}
