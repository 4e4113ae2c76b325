/**
 * One record of the audit log and its form as a line: JSON that carries its number and the hash of the line before.
 * No field can hold a PIN, a message, a digest or a plaintext: values are numbers, names from the protocol's tables,
 * names from the configuration and of cards, and what the kernel says of a peer.
 */
import * as crypto from 'node:crypto';
import type { AlgorithmName, ErrorCode, Mechanism, Operation, SourceName } from '@keyagent/protocol';

/** What is known of a peer. */
export interface AuditPeer {
  readonly uid: number;
  readonly gid: number;
  readonly pid: number;
  readonly exe?: string | undefined;
  readonly unit?: string | undefined;
  /** How sure it is that the pid, and so exe and unit, are the peer's. */
  readonly sure?: boolean | string | undefined;
}

/** Path of a URI that selects a key, as auditUri makes it. */
export type AuditUri = `${'pkcs11' | 'keyagent'}:${string}`;

/** By itself, by a signal, because it hung beyond a deadline or broke the host protocol, or because its token was removed. */
export type HostEnd = `exit status ${number}` | `signal ${string}` | 'deadline' | 'protocol' | 'removed';

export interface AuditRecord {
  readonly event:
    | Operation
    | 'unlock'
    | 'lock'
    | 'start'
    | 'reload'
    | 'stop'
    | 'host'
    | 'card-give'
    | 'card-enrol'
    | 'card-remove';
  readonly outcome: 'ok' | ErrorCode;
  readonly peer?: AuditPeer | undefined;
  /** Name in the configuration. */
  readonly token?: string | undefined;
  readonly key?: AuditUri | undefined;
  readonly alg?: AlgorithmName | undefined;
  readonly mechanism?: Mechanism | undefined;
  /** Name in the configuration. */
  readonly rule?: string | undefined;
  readonly source?: SourceName | undefined;
  /** Operators' cards, by what PKCS#11 calls their tokens. */
  readonly cards?: readonly { readonly label: string; readonly serial: string }[] | undefined;
  /** How a token host ended; it is started anew. */
  readonly ended?: HostEnd | undefined;
  /** Of start and reload: which configuration file, by its bytes. */
  readonly config?: `sha256:${string}` | undefined;
  /** What the token said. */
  readonly cause?: `CKR_${string}` | undefined;
  /** Microseconds until the token got it, and until it answered. */
  readonly queueUs?: number | undefined;
  readonly tokenUs?: number | undefined;
}

/** Which line was written last: its number, counted over all files from 1, and its hash. */
export interface Position {
  readonly seq: number;
  /** SHA-256 of the line without its newline, hex. */
  readonly hash: string;
}

export const beginning: Position = { seq: 0, hash: '0'.repeat(64) };

/** What the head said when somebody began to write; `state` other than open and closed: there was no head to trust. */
export interface Anchor extends Position {
  /** closed: the last agent ended in order. open: it did not, or it goes on after a rotation or a failure. */
  readonly state: 'open' | 'closed' | 'missing' | 'forged';
  /** Lines up to this number were on disk for certain. */
  readonly synced: number;
}

/** The first line of a file, of an agent's life, and after a time when the log could not be written. */
export interface Opening {
  readonly event: 'log';
  readonly reason: 'start' | 'rotation' | 'failure';
  readonly anchor: Anchor;
  /** The machine was started since the anchor was written: what was not synced may be gone. */
  readonly rebooted: boolean;
  /** Length in bytes of the unfinished line before this one. */
  readonly unfinished?: number | undefined;
  /** Records that could not be written meanwhile. */
  readonly unrecorded?: number | undefined;
}

/** Fields are picked one by one, so that nothing else an object may have gets into the log; undefined ones are left out. */
export function recordLine({ seq, hash }: Position, time: string, record: AuditRecord): string {
  const { peer } = record;
  return JSON.stringify({
    seq: seq + 1,
    prev: hash,
    time,
    event: record.event,
    uid: peer?.uid,
    gid: peer?.gid,
    pid: peer?.pid,
    exe: peer?.exe,
    unit: peer?.unit,
    sure: peer?.sure,
    token: record.token,
    key: record.key,
    alg: record.alg,
    mechanism: record.mechanism,
    rule: record.rule,
    source: record.source,
    cards: record.cards?.map(({ label, serial }) => ({ label, serial })),
    config: record.config,
    outcome: record.outcome,
    ended: record.ended,
    cause: record.cause,
    queue_us: record.queueUs,
    token_us: record.tokenUs,
  });
}

/** @param seq  number of the line before, or of the anchor if that is higher */
export function openingLine({ seq, hash }: Position, time: string, opening: Opening): string {
  return JSON.stringify({ seq: seq + 1, prev: hash, time, ...opening });
}

export function lineHash(line: string | Uint8Array): string {
  return sha256(line);
}

/** Node has the quicker way since 20.12. */
const sha256: (data: string | Uint8Array) => string =
  'hash' in crypto
    ? (data) => crypto.hash('sha256', data)
    : (data) => crypto.createHash('sha256').update(data).digest('hex');

const attribute =
  /^(token|manufacturer|serial|model|library-(manufacturer|description|version)|slot-(id|description|manufacturer)|object|id|type)=/;

/** What a URI selects. Its query (a PIN, a module) and attributes that RFC 7512 does not know stay out. */
export function auditUri(uri: string): AuditUri | undefined {
  const [path = ''] = uri.split('?', 1);
  const [scheme = '', ...rest] = path.split(':');
  const selector = rest.join(':');
  switch (scheme.toLowerCase()) {
    case 'keyagent':
      return `keyagent:${selector}`;
    case 'pkcs11':
      return `pkcs11:${selector
        .split(';')
        .filter((each) => attribute.test(each))
        .join(';')}`;
    default:
      return undefined;
  }
}
