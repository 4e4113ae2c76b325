/** A rule: who may use which keys, for which operations, with which mechanisms. Absent fields match everything. */
import type { Mechanism, Operation, Pkcs11Uri, Purpose, RuleVerdict } from '@keyagent/protocol';
import type { Rate } from './rate.js';

export interface Rule {
  /** For the audit log: the configured name, or "rule 3". */
  readonly name: string;
  readonly keys: Pkcs11Uri;
  readonly uids: readonly number[] | undefined;
  readonly gids: readonly number[] | undefined;
  /** Services of the system manager: "apache2.service". */
  readonly units: readonly string[] | undefined;
  /** Absolute paths of executables. */
  readonly exes: readonly string[] | undefined;
  readonly operations: readonly Operation[] | undefined;
  readonly mechanisms: readonly Mechanism[] | undefined;
  readonly purpose: Purpose | undefined;
  /** Not part of the match: a rule whose rate is exhausted still decides. */
  readonly rate: Rate | undefined;
  /** Not part of the match: how many requests wait for a login at the same time; undefined: any number. */
  readonly holdMax: number | undefined;
  /** Salt of rsa-pss in bytes; undefined: the length of the hash. */
  readonly pssSaltLength: number | undefined;
}

/** A field of a rule that a request may fail to match, under its name in the configuration. */
export type RuleField = Exclude<RuleVerdict, 'allows' | 'purpose-only'>;
