/**
 * `keyagent sign`: input of any length -> one signature. Short messages go to the agent whole, so that its rules can
 * see what is signed; longer ones are hashed here.
 */
import { createHash } from 'node:crypto';
import {
  AgentError,
  algorithms,
  hashLength,
  limits,
  type AlgorithmEntry,
  type AlgorithmName,
  type Params,
} from '@keyagent/protocol';
import type { Command } from 'commander';
import { algorithmFor } from '../algorithm-for.js';
import { CommandError } from '../exit-codes.js';
import { readInput, readSmallInput } from '../files.js';
import { keyUri } from '../key-uri.js';
import { requestTimeoutMs, type Session } from '../session.js';
import { writeResult } from '../write-result.js';

interface SignOptions {
  key: string;
  alg: string;
  in: string;
  out: string;
  digest?: true;
  p1363?: true;
}

type Input = Pick<Params<'sign'>, 'message' | 'digest'>;

export function addSign(program: Command, session: Session): void {
  program
    .command('sign')
    .description('sign a file')
    .requiredOption('--key <uri>', 'the key, as RFC 7512 URI')
    .requiredOption('--alg <alg>', 'the algorithm, such as rsa-pss-sha256')
    .option('--in <file>', 'what to sign', '-')
    .option('--out <file>', 'where the signature goes', '-')
    .option('--digest', 'the input is the digest itself, raw')
    .option('--p1363', 'ECDSA signature as r||s instead of DER')
    .action(async (options: SignOptions) => {
      const alg = algorithmFor('sign', options.alg);
      const entry: AlgorithmEntry = algorithms[alg];
      refuseOptions(alg, entry, options);
      const uri = keyUri(options.key).text;
      const input =
        options.digest === true
          ? await digestInput(alg, options, session)
          : await messageInput(alg, options, session);
      const params: Params<'sign'> = {
        uri,
        alg,
        ...input,
        ...(options.p1363 === true && { format: 'p1363' }),
      };
      const { signature } = await session.client((agent) =>
        agent.call('sign', params, { timeoutMs: requestTimeoutMs }),
      );
      await writeResult('signature', signature, options.out, session);
    });
}

function refuseOptions(alg: AlgorithmName, { mechanism, hash }: AlgorithmEntry, options: SignOptions): void {
  if (options.p1363 === true && mechanism !== 'ecdsa') {
    throw new CommandError('USAGE', `--p1363 is a form of ECDSA signatures; leave it out with ${alg}`);
  }
  if (options.digest === true && hash === undefined) {
    throw new CommandError('USAGE', `${alg} signs the message itself, not a digest; leave --digest out`);
  }
}

async function digestInput(alg: AlgorithmName, options: SignOptions, session: Session): Promise<Input> {
  const { hash }: AlgorithmEntry = algorithms[alg];
  const expected = hash === undefined ? 0 : hashLength[hash];
  const digest = await readSmallInput(options.in, session.streams, expected);
  if (digest?.length === expected) return { digest };
  const actual = digest === undefined ? 'more' : `${digest.length}`;
  throw new AgentError(
    'INVALID',
    `a ${hash ?? ''} digest has ${expected} bytes, the input ${actual}; give the raw digest`,
  );
}

async function messageInput(alg: AlgorithmName, options: SignOptions, session: Session): Promise<Input> {
  const { hash: hashName }: AlgorithmEntry = algorithms[alg];
  const start: Buffer[] = [];
  let length = 0;
  let hash: ReturnType<typeof createHash> | undefined;
  for await (const chunk of readInput(options.in, session.streams)) {
    length += chunk.length;
    if (hash === undefined) start.push(chunk);
    if (length <= limits.message) continue;
    if (hashName === undefined) {
      throw new AgentError(
        'TOO_LARGE',
        `${alg} signs at most ${limits.message} bytes; sign a hash of the file instead`,
      );
    }
    if (hash === undefined) {
      hash = createHash(hashName);
      for (const each of start) hash.update(each);
    } else {
      hash.update(chunk);
    }
  }
  return hash === undefined ? { message: Buffer.concat(start) } : { digest: hash.digest() };
}
