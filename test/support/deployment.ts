/**
 * What an administrator sets up, for one test: an authority, SoftHSM tokens, an unlocked agent, and servers that use
 * its keys. The token `web` holds the keys; `spare` is in the same module and holds keys of the same labels.
 */
import { writeFileSync } from 'node:fs';
import path from 'node:path';
import { startAgent, type Agent, type AgentSpec } from './agent.js';
import { Apache, type ApacheSpec } from './apache.js';
import { makeAuthority, type Authority } from './authority.js';
import type { Cleanup } from './cleanup.js';
import { writeOpensslConfig } from './openssl-config.js';
import { scratchFolder } from './scratch.js';
import { SoftHsm, type KeySpec, type Token } from './softhsm.js';

/** How a server's configuration names a key: a pkcs11: URI, or a file with a PEM key reference. */
export type Reference = 'uri' | 'pem';

export interface DeploymentSpec {
  keys: readonly KeySpec[];
  /** A second token with the same labels in the same module. */
  spare?: boolean;
  /** Of the token `web`. */
  pin?: string;
  agent?: Partial<AgentSpec>;
  /** Puts the intermediate on the token as well. */
  issuers?: boolean;
  /** Default: one of its own. */
  folder?: string;
}

type ServerSpec = Pick<ApacheSpec, 'mpm' | 'directives'> & { keys: readonly string[]; reference: Reference };

export class Deployment {
  readonly opensslEnv: Record<string, string>;
  readonly #cleanup: Cleanup;

  constructor(
    cleanup: Cleanup,
    readonly folder: string,
    readonly authority: Authority,
    readonly hsm: SoftHsm,
    readonly token: Token,
    readonly agent: Agent,
  ) {
    this.#cleanup = cleanup;
    this.opensslEnv = writeOpensslConfig(path.join(folder, 'openssl.cnf'), agent.socket);
  }

  uri(key: string, type: 'private' | 'cert' | 'public'): string {
    return `pkcs11:token=${this.token.label};object=${key};type=${type}`;
  }

  /** Writes what `keyagent ref` prints; answers the file. */
  async referenceFile(key: string): Promise<string> {
    const file = path.join(this.folder, `${key}.ref`);
    writeFileSync(file, await this.agent.mustKeyagent(['ref', this.uri(key, 'private')]));
    return file;
  }

  /** Apache with these keys. A `pem` reference goes with a certificate file; a URI takes the token's certificate. */
  async apache({ keys, reference, ...spec }: ServerSpec): Promise<Apache> {
    const pairs = await Promise.all(
      keys.map(async (key) =>
        reference === 'uri'
          ? { certificate: this.uri(key, 'cert'), key: this.uri(key, 'private') }
          : { certificate: this.token.key(key).certificateFile, key: await this.referenceFile(key) },
      ),
    );
    return Apache.start(this.#cleanup, {
      ...spec,
      folder: this.folder,
      pairs,
      chainFile: this.authority.chainFile,
      env: this.opensslEnv,
    });
  }
}

/** Everything started and unlocked. */
export async function deploy(cleanup: Cleanup, spec: DeploymentSpec): Promise<Deployment> {
  const folder = spec.folder ?? scratchFolder(cleanup);
  const authority = await makeAuthority(folder);
  const hsm = new SoftHsm(folder, authority);
  const token = await hsm.makeToken('web', spec.keys, spec.pin);
  if (spec.issuers === true) await hsm.writeCertificate(token, authority.chainFile, 'intermediate');
  const tokens = spec.spare === true ? [token, await hsm.makeToken('spare', spec.keys, '9508-pin')] : [token];
  const agent = await startAgent(cleanup, { folder, hsm, tokens, ...spec.agent });
  await agent.unlock();
  return new Deployment(cleanup, folder, authority, hsm, token, agent);
}
