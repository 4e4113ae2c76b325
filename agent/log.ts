/**
 * The agent's log, to standard error (journald takes it from there). The only importer of winston.
 * Only the fields listed here are ever printed: a record cannot carry a PIN or a payload by accident.
 */
import { AgentError } from '@keyagent/protocol';
import { createLogger, format, transports } from 'winston';
import { visible } from './visible.js';

/** The allow-list: every field that a record can have. */
const fieldNames = [
  'token',
  'key',
  'id',
  'rule',
  'method',
  'state',
  'source',
  'file',
  'socket',
  'version',
  /** Process id of a token host or a peer. */
  'pid',
  'uid',
  'gid',
  'signal',
  'count',
  'ms',
  /** Code of an AgentError. */
  'code',
  /** CKR_ name. */
  'ckr',
  /** Why, in words. */
  'detail',
  'reason',
  'how',
] as const;

export type LogFields = Partial<Record<(typeof fieldNames)[number], string | number | undefined>> & {
  /** Printed as its message and those of its causes, its code, and for a defect its stack. */
  error?: unknown;
};

export interface Log {
  info(message: string, fields?: LogFields): void;
  warn(message: string, fields?: LogFields): void;
  error(message: string, fields?: LogFields): void;
}

export function createLog(form: 'json' | 'pretty', stream: NodeJS.WritableStream = process.stderr): Log {
  const logger = createLogger({
    format: format.combine(format.timestamp(), form === 'json' ? format.json() : format.printf(prettyLine)),
    // winston's own types call this transport an interface, not the class that it is.
    // eslint-disable-next-line @typescript-eslint/no-unsafe-class-instance-assignment
    transports: [new transports.Stream({ stream })],
  });
  const write =
    (level: 'info' | 'warn' | 'error') =>
    (message: string, fields: LogFields = {}): void => {
      logger.log({ level, message, ...recordOf(fields) });
    };
  return { info: write('info'), warn: write('warn'), error: write('error') };
}

function recordOf(fields: LogFields): Record<string, string | number> {
  const record: Record<string, string | number> = {};
  for (const name of fieldNames) {
    const value = fields[name];
    if (value !== undefined) record[name] = value;
  }
  if (fields.error !== undefined) Object.assign(record, errorRecord(fields.error));
  return record;
}

/** winston prints an Error as {} and, with format.errors, every property it has: pick them here instead. */
function errorRecord(error: unknown): Record<string, string> {
  const chain = causesOf(error);
  const record: Record<string, string> = { error: chain.map(textOf).join(': ') };
  const code = error instanceof AgentError ? error.code : (error as NodeJS.ErrnoException | null)?.code;
  if (typeof code === 'string') record.code = code;
  // An expected failure needs no stack; a defect does, of where it began.
  if (error instanceof AgentError && error.code !== 'INTERNAL') return record;
  const origin = chain.findLast((each) => each instanceof Error);
  if (origin instanceof Error && origin.stack !== undefined) record.stack = origin.stack;
  return record;
}

const maxCauses = 5;

function causesOf(error: unknown): unknown[] {
  const chain: unknown[] = [];
  for (
    let at = error;
    at !== undefined && chain.length < maxCauses;
    at = at instanceof Error ? at.cause : undefined
  ) {
    chain.push(at);
  }
  return chain;
}

function textOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}

/** One line whatever a peer put into a field. */
function prettyLine({ timestamp, level, message, ...fields }: Record<string, unknown>): string {
  const pairs = Object.entries(fields).map(([name, value]) => `${name}=${quoted(String(value))}`);
  return [String(timestamp), level, visible(String(message)), ...pairs].join(' ');
}

function quoted(value: string): string {
  return /^[\x21-\x7e]+$/.test(value) ? value : visible(JSON.stringify(value));
}
