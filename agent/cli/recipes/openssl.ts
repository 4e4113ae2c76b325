/** OPENSSL_CONF: the default provider, and beside it keyagent's. */
import { existsSync } from 'node:fs';
import { fileURLToPath } from 'node:url';

/** Compiled to agent/dist/cli/recipes. */
const builtModule = fileURLToPath(new URL('../../../../build/lib/ossl-modules/keyagent.so', import.meta.url));

export interface OpensslSettings {
  /** The agent's socket, where it is not the one that the provider finds by itself. */
  readonly socket: string | undefined;
  /** The name that the program looks for: openssl_conf, or nodejs_conf. */
  readonly entry: 'openssl_conf' | 'nodejs_conf';
  /** For programs that take key pairs apart: see docs/servers/node.md. */
  readonly exportPublic: boolean;
}

export function opensslConf({ socket, entry, exportPublic }: OpensslSettings): string {
  // An installed module is found by its name.
  const module = existsSync(builtModule) ? `module = ${builtModule}\n` : '';
  const own = socket === undefined ? '' : `socket = ${socket}\n`;
  const more = exportPublic ? 'export = public\n' : '';
  return `${entry} = openssl_init

[openssl_init]
providers = provider_sect

[provider_sect]
default = default_sect
keyagent = keyagent_sect

[default_sect]
activate = 1

[keyagent_sect]
${module}${own}${more}log = stderr
activate = 1
`;
}
