/** `keyagent pubkey URI`: the public half of a key as PEM (SubjectPublicKeyInfo). */
import type { Command } from 'commander';
import { keyUri } from '../key-uri.js';
import { pem } from '../pem.js';
import { requestTimeoutMs, type Session } from '../session.js';

export function addPubkey(program: Command, session: Session): void {
  program
    .command('pubkey')
    .argument('<uri>', 'the key, as RFC 7512 URI')
    .description('print the public key')
    .action(async (text: string) => {
      const { uri, spki } = await session.client((agent) =>
        agent.call('key', { uri: keyUri(text).text }, { timeoutMs: requestTimeoutMs }),
      );
      const publicKey = pem('PUBLIC KEY', spki);
      await session.print({ uri, publicKey }, publicKey);
    });
}
