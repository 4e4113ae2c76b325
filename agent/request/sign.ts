/** sign: hashes a whole message here, or checks that a digest fits its hash; the token sees digests only (Ed25519 apart). */
import { createHash } from 'node:crypto';
import { AgentError, hashLength, type AlgorithmEntry, type Params, type Result } from '@keyagent/protocol';
import type { Asker, Context } from './context.js';
import { derSignature } from './ecdsa-der.js';
import { useKey, type Task } from './use-key.js';

const task: Task<'sign', Params<'sign'>, Result<'sign'>> = {
  operation: 'sign',
  params: (asked, rule, algorithm) => {
    const { mechanism, hash } = algorithm;
    if (asked.format !== undefined && mechanism !== 'ecdsa') {
      throw new AgentError('INVALID', 'format is for ecdsa only');
    }
    const data = bytesToSign(asked, algorithm);
    const saltLength = mechanism === 'rsa-pss' ? rule.pssSaltLength : undefined;
    return (ref) => ({ ref, mechanism, data, hash, saltLength });
  },
  result: ({ signature }, { format }, { mechanism }) => {
    const der = mechanism === 'ecdsa' && format !== 'p1363';
    return { signature: der ? derSignature(signature) : signature };
  },
};

export function sign(params: Params<'sign'>, asker: Asker, context: Context): Promise<Result<'sign'>> {
  return useKey(task, params, asker, context);
}

function bytesToSign({ message, digest }: Params<'sign'>, { hash }: AlgorithmEntry): Uint8Array {
  if ((message === undefined) === (digest === undefined)) {
    throw new AgentError('INVALID', 'give either message or digest');
  }
  if (hash === undefined) {
    if (message === undefined)
      throw new AgentError('INVALID', 'ed25519 signs the message itself, not a digest');
    return message;
  }
  if (message !== undefined) return createHash(hash).update(message).digest();
  const bytes = digest as Uint8Array;
  if (bytes.length !== hashLength[hash]) {
    const lengths = `${String(bytes.length)} bytes; ${hash} gives ${String(hashLength[hash])}`;
    throw new AgentError('INVALID', `the digest has ${lengths}`);
  }
  return bytes;
}
