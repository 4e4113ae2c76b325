/** Use keys that keyagent holds: connect() -> Client -> Key -> sign, decrypt. */
export { connect, Client, type ConnectOptions, type KeyEntry, type AgentStatus } from './client.js';
export {
  Key,
  type DecryptionAlgorithm,
  type DecryptOptions,
  type SigningAlgorithm,
  type SignInput,
  type SignOptions,
} from './key.js';
export { JwsSigner, type JwsAlgorithm, type JwsHeader } from './jws-signer.js';
export { AgentError, errorCodes, isRetryable } from '@keyagent/protocol';
export type {
  AlgorithmName,
  CallOptions,
  ErrorCode,
  KeyAlgorithm,
  KeyState,
  Mechanism,
  TokenState,
} from '@keyagent/protocol';
