/** The configuration after validation: absolute paths, numbers in milliseconds, names resolved to ids. */
import type { Pkcs11Uri, SourceName } from '@keyagent/protocol';
import type { Rule } from '../policy/rule.js';

export interface SocketConfig {
  path: string;
  /** Permission bits. */
  mode: number;
  /** undefined: the agent's own group. */
  gid: number | undefined;
}

export interface TokenConfig {
  name: string;
  module: string;
  uri: Pkcs11Uri;
  unlock: readonly SourceName[];
  sessions: number;
  hosts: number;
  env: Readonly<Record<string, string>>;
  onRemoval: 'hold' | 'drain' | 'lock';
  retainPin: boolean;
  lockAfterMs: number | undefined;
  lockIdleMs: number | undefined;
  /** Pause between two readings of the keys; 0: only at a reload. */
  rescanMs: number;
  /** Account of the keyring item and file of the credential; defaults `name` and `keyagent.NAME.pin`. */
  keyringService: string;
  keyringAccount: string;
  credential: string;
  /** The JWE for clevis; default NAME.pin.jwe in the state directory. */
  clevisFile: string;
}

/** A PKCS#11 module that shows operators' cards. */
export interface CardReaderConfig {
  name: string;
  module: string;
  /** Which tokens of the module count as cards. */
  uri: string;
  env: Readonly<Record<string, string>>;
}

export interface Config {
  /** The file it came from. */
  file: string;
  /** SHA-256 of the bytes of that file, hex. */
  hash: `sha256:${string}`;
  /** The client sockets; the first is the one that KEYAGENT_SOCK names. */
  sockets: readonly SocketConfig[];
  controlSocket: SocketConfig;
  stateDir: string;
  holdMs: number;
  requestTimeoutMs: number;
  tokens: readonly TokenConfig[];
  cardReaders: readonly CardReaderConfig[];
  rules: readonly Rule[];
  auditFile: string;
  auditOnError: 'deny' | 'count';
  /** The head of the audit log goes to the journal too. */
  auditJournald: boolean;
}
