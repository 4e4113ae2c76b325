/** The --alg argument of sign, decrypt and check-access. */
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

/** The same for a command that does not say which operation. */
export function algorithmNamed(name: string): AlgorithmName {
  if (isAlgorithmName(name)) return name;
  throw new CommandError('USAGE', `"${name}" is no algorithm; use one of: ${algorithmNames.join(', ')}`);
}
