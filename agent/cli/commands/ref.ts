/**
 * `keyagent ref URI`: a PEM file that refers to a key, for programs that only read files. It holds the URI and
 * nothing else. The key is looked up, so that a slip shows here and not when a server starts.
 */
import type { Pkcs11Uri } from '@keyagent/protocol';
import type { Command } from 'commander';
import { lookUp } from '../key-lookup.js';
import { keyUri } from '../key-uri.js';
import { pem } from '../pem.js';
import type { Session } from '../session.js';

export function addRef(program: Command, session: Session): void {
  program
    .command('ref')
    .argument('<uri>', 'the key, as RFC 7512 URI')
    .description('print a PEM reference to a key')
    .action(async (text: string) => {
      const uri = longForm(keyUri(text));
      await lookUp(uri, 'reference', session);
      const reference = pem('KEYAGENT KEY REFERENCE', Buffer.from(uri, 'utf8'));
      await session.print({ uri, reference }, reference);
    });
}

/** The reference holds a pkcs11: URI; keyagent:NAME is short for pkcs11:object=NAME. */
function longForm({ text }: Pkcs11Uri): string {
  return text.replace(/^keyagent:/i, 'pkcs11:object=');
}
