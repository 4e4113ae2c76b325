/**
 * The variables of a server's environment that decide where OpenSSL and the provider look. They are told by an option:
 * those of the shell are another program's, and do not reach this one (docs/adr/0003-launchers.md).
 */
import { AgentError } from '@keyagent/protocol';

const names = ['OPENSSL_CONF', 'OPENSSL_MODULES', 'OPENSSL_ENGINES', 'KEYAGENT_SOCK'] as const;

export type ServerEnvironment = Partial<Record<(typeof names)[number], string>>;

/** @throws AgentError INVALID */
export function serverEnvironment(settings: readonly string[]): ServerEnvironment {
  return Object.fromEntries(settings.map(setting));
}

function setting(text: string): [string, string] {
  const [, name = '', value = ''] = /^([^=]*)=(.+)$/s.exec(text) ?? [];
  if (names.some((each) => each === name)) return [name, value];
  throw new AgentError('INVALID', `--env ${text}: give NAME=VALUE, where NAME is one of ${names.join(', ')}`);
}
