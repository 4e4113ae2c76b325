/** `keyagent decrypt`: one ciphertext -> its plaintext, as binary. */
import { AgentError, algorithms, limits, type AlgorithmEntry, type Params } from '@keyagent/protocol';
import { InvalidArgumentError, Option, type Command } from 'commander';
import { algorithmFor } from '../algorithm-for.js';
import { CommandError } from '../exit-codes.js';
import { readSmallInput } from '../files.js';
import { keyUri } from '../key-uri.js';
import { requestTimeoutMs, type Session } from '../session.js';
import { writeResult } from '../write-result.js';

/** RFC 5246 7.4.7.1: what the client offered, and what was agreed on. */
type TlsVersions = Pick<Params<'decrypt'>, 'client_version' | 'negotiated_version'>;

interface DecryptOptions {
  key: string;
  alg: string;
  in: string;
  out: string;
  tlsVersion?: TlsVersions;
}

export function addDecrypt(program: Command, session: Session): void {
  program
    .command('decrypt')
    .description('decrypt a file')
    .requiredOption('--key <uri>', 'the key, as RFC 7512 URI')
    .requiredOption('--alg <alg>', 'the algorithm, such as rsa-oaep-sha256')
    .option('--in <file>', 'the ciphertext', '-')
    .option('--out <file>', 'where the plaintext goes', '-')
    .addOption(
      new Option('--tls-version <client,negotiated>', 'for rsa-pkcs1-tls, as 0x0303,0x0303').argParser(
        tlsVersions,
      ),
    )
    .action(async (options: DecryptOptions) => {
      const alg = algorithmFor('decrypt', options.alg);
      const { mechanism }: AlgorithmEntry = algorithms[alg];
      if ((mechanism === 'rsa-pkcs1-tls') !== (options.tlsVersion !== undefined)) {
        throw new CommandError(
          'USAGE',
          '--tls-version belongs to rsa-pkcs1-tls and to nothing else; give both or neither',
        );
      }
      const uri = keyUri(options.key).text;
      const ciphertext = await readSmallInput(options.in, session.streams, limits.ciphertext);
      if (ciphertext === undefined) {
        throw new AgentError(
          'TOO_LARGE',
          `an RSA ciphertext has at most ${limits.ciphertext} bytes; check --in`,
        );
      }
      await decrypt({ uri, alg, ciphertext, ...options.tlsVersion }, options.out, session);
    });
}

async function decrypt(params: Params<'decrypt'>, out: string, session: Session): Promise<void> {
  const { plaintext } = await session.client((agent) =>
    agent.call('decrypt', params, { timeoutMs: requestTimeoutMs }),
  );
  try {
    await writeResult('plaintext', plaintext, out, session);
  } finally {
    plaintext.fill(0);
  }
}

function tlsVersions(text: string): TlsVersions {
  const match = /^0x([0-9a-f]{4}),0x([0-9a-f]{4})$/i.exec(text);
  if (!match) throw new InvalidArgumentError('It must be two versions such as 0x0303,0x0303.');
  return {
    client_version: Number.parseInt(match[1] ?? '', 16),
    negotiated_version: Number.parseInt(match[2] ?? '', 16),
  };
}
