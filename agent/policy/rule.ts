/** A rule: who may use which keys, for which operations, with which mechanisms. Absent fields match everything. */
import type { Mechanism, Operation, Pkcs11Uri } from '@keyagent/protocol';

export interface Rule {
  /** For the audit log: the configured name, or "rule 3". */
  readonly name: string;
  readonly keys: Pkcs11Uri;
  readonly uids: readonly number[] | undefined;
  readonly gids: readonly number[] | undefined;
  readonly operations: readonly Operation[] | undefined;
  readonly mechanisms: readonly Mechanism[] | undefined;
  /** Salt of rsa-pss in bytes; undefined: the length of the hash. */
  readonly pssSaltLength: number | undefined;
}
