/**
 * Bytes of a host -> what it says. A vendor's module runs in there, and may have broken the process: what is neither a
 * reply nor an event goes no further. What a result holds is not looked at here.
 */
import { Unpackr } from 'msgpackr';
import { errorCode, errorTable, type ErrorCode } from '@keyagent/protocol';
import type { HostError, HostEvents } from '../host/host-protocol.js';

export interface HostReply {
  readonly id: number;
  /** null: it was done. */
  readonly error: HostError | null;
  readonly result: object | null;
}

export type HostEvent = {
  [E in keyof HostEvents]: { readonly event: E; readonly params: HostEvents[E] };
}[keyof HostEvents];

const unpackr = new Unpackr({ useRecords: false });
/** Characters; it goes into the audit log. */
const ckrMax = 80;

/** @throws Error for what the host protocol does not have */
export function parseHostMessage(body: Uint8Array): HostReply | HostEvent {
  const message: unknown = unpackr.unpack(body);
  if (!Array.isArray(message) || message.length !== 3) throw new Error('not a message of the host protocol');
  const [id, second, third] = message as unknown[];
  if (id === 0) return eventOf(second, third);
  if (!Number.isInteger(id)) throw new Error('a reply without an id');
  if (second === null && isObject(third)) return { id: id as number, error: null, result: third };
  if (isHostError(second) && third === null) return { id: id as number, error: second, result: null };
  throw new Error('a reply that is neither a result nor an error');
}

function eventOf(name: unknown, params: unknown): HostEvent {
  if (name === 'authenticated') return { event: name, params: {} };
  if (name === 'presence' && isObject(params) && typeof params['present'] === 'boolean') {
    return { event: name, params: { present: params['present'] } };
  }
  throw new Error('not an event of the host protocol');
}

/** What a log, an audit record or a client is told of it. */
function isHostError(value: unknown): value is HostError {
  if (!isObject(value)) return false;
  const { code, message, ckr, atLogin } = value;
  return (
    typeof code === 'string' &&
    travels(code) &&
    typeof message === 'string' &&
    (ckr === undefined || (typeof ckr === 'string' && ckr.startsWith('CKR_') && ckr.length <= ckrMax)) &&
    (atLogin === undefined || typeof atLogin === 'boolean')
  );
}

/** A code that a client may be told. */
function travels(code: string): boolean {
  return Object.hasOwn(errorTable, code) && errorCode(errorTable[code as ErrorCode].number) === code;
}

function isObject(value: unknown): value is Readonly<Record<string, unknown>> {
  return typeof value === 'object' && value !== null;
}
