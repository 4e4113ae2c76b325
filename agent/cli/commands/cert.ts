/** `keyagent cert URI`: the certificate of a key as PEM; with --chain its issuers too, as far as the token holds them. */
import { AgentError } from '@keyagent/protocol';
import type { Command } from 'commander';
import { keyUri } from '../key-uri.js';
import { pem } from '../pem.js';
import { requestTimeoutMs, type Session } from '../session.js';

export function addCert(program: Command, session: Session): void {
  program
    .command('cert')
    .argument('<uri>', 'the key, as RFC 7512 URI')
    .description('print the certificate of a key')
    .option('--chain', 'and those of its issuers that the token holds')
    .action(async (text: string, { chain }: { chain?: true }) => {
      const { uri, certificates } = await session.client((agent) =>
        agent.call('key', { uri: keyUri(text).text }, { timeoutMs: requestTimeoutMs }),
      );
      if (certificates.length === 0) {
        throw new AgentError(
          'NOT_FOUND',
          `the token holds no certificate for ${uri}; write one with the key's CKA_ID`,
        );
      }
      const shown = (chain === true ? certificates : certificates.slice(0, 1)).map((der) =>
        pem('CERTIFICATE', der),
      );
      await session.print({ uri, certificates: shown }, shown.join(''));
    });
}
