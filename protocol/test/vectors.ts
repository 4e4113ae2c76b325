/** Reads the vectors; "hex:..." becomes bytes. */
import { readFileSync } from 'node:fs';
import type { ErrorCode, Face, Method, Notification } from '@keyagent/protocol';

interface Common {
  readonly name: string;
  readonly face: Face;
  readonly hex: string;
}

export interface ValidVector extends Common {
  readonly direction: 'request' | 'reply' | 'notice';
  readonly from?: 'requester' | 'agent';
  readonly method: Method | Notification;
  readonly id?: number;
  readonly longForm?: boolean;
  readonly value: Readonly<Record<string, unknown>>;
}

export interface MalformedVector extends Common {
  readonly direction: 'request' | 'reply' | 'notice';
  readonly method?: Method;
  readonly code: ErrorCode;
  readonly fatal: boolean;
  readonly id: number;
}

function read(file: string): unknown {
  const url = new URL(`../../vectors/${file}`, import.meta.url);
  return JSON.parse(readFileSync(url, 'utf8'), (_key, value: unknown) =>
    typeof value === 'string' && value.startsWith('hex:') ? Buffer.from(value.slice(4), 'hex') : value,
  );
}

export const valid = read('valid.json') as ValidVector[];
export const malformed = read('malformed.json') as MalformedVector[];

/** The body of a vector's frame. */
export function bodyOf({ hex }: Common): Buffer {
  return Buffer.from(hex.slice(8), 'hex');
}
