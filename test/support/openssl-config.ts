/** The OpenSSL configuration that an administrator writes to use the provider (OPENSSL_CONF). */
import { writeFileSync } from 'node:fs';
import { providerModule } from './paths.js';

/** @returns the environment for a program that shall find keys through the agent */
export function writeOpensslConfig(file: string, agentSocket: string): Record<string, string> {
  writeFileSync(
    file,
    `openssl_conf = openssl_init
[openssl_init]
providers = provider_sect
[provider_sect]
default = default_sect
keyagent = keyagent_sect
[default_sect]
activate = 1
[keyagent_sect]
module = ${providerModule}
socket = ${agentSocket}
activate = 1
`,
  );
  return { OPENSSL_CONF: file };
}
