/**
 * `keyagent ref URI`: a PEM file that refers to a key, for programs that only read files. It holds the URI and
 * nothing else. The key is looked up, so that a slip shows here and not when a server starts.
 */
import { AgentError, type ErrorCode, type Pkcs11Uri } from '@keyagent/protocol';
import type { Command } from 'commander';
import { keyUri } from '../key-uri.js';
import { pem } from '../pem.js';
import type { Session } from '../session.js';

/** These say something about the key or its URI; other failures say only that it could not be looked up. */
const aboutTheKey: readonly ErrorCode[] = ['INVALID', 'NOT_FOUND', 'AMBIGUOUS'];

export function addRef(program: Command, session: Session): void {
  program
    .command('ref')
    .argument('<uri>', 'the key, as RFC 7512 URI')
    .description('print a PEM reference to a key')
    .action(async (text: string) => {
      const uri = longForm(keyUri(text));
      await lookUp(uri, session);
      const reference = pem('KEYAGENT KEY REFERENCE', Buffer.from(uri, 'utf8'));
      await session.print({ uri, reference }, reference);
    });
}

/** The reference holds a pkcs11: URI; keyagent:NAME is short for pkcs11:object=NAME. */
function longForm({ text }: Pkcs11Uri): string {
  return text.replace(/^keyagent:/i, 'pkcs11:object=');
}

async function lookUp(uri: string, session: Session): Promise<void> {
  try {
    await session.client((agent) => agent.call('key', { uri }, { timeoutMs: 10_000 }));
  } catch (error) {
    if (!(error instanceof AgentError) || aboutTheKey.includes(error.code)) throw error;
    session.warn(`the reference is good, but its key was not looked up: ${error.message}`);
  }
}
