/** The --alg argument of sign and decrypt. */
import {
  algorithmNames,
  algorithms,
  isAlgorithmName,
  type AlgorithmName,
  type Operation,
} from '@keyagent/protocol';
import { CommandError } from './exit-codes.js';

/** @throws CommandError USAGE that lists the algorithms of the operation */
export function algorithmFor(operation: Operation, name: string): AlgorithmName {
  if (isAlgorithmName(name) && algorithms[name].operation === operation) return name;
  const known = algorithmNames.filter((each) => algorithms[each].operation === operation).join(', ');
  throw new CommandError('USAGE', `"${name}" is no algorithm to ${operation} with; use one of: ${known}`);
}
