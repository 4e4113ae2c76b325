/**
 * One configuration file as text and as parsed TOML, and the only place that words its errors:
 * "FILE:LINE: token.web.sessions: what is wrong and what to do", AgentError CONFIGURATION.
 */
import { createHash } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { AgentError } from '@keyagent/protocol';
import { parse, TomlError } from 'smol-toml';
import { unreadable } from '../unsafe-file.js';
import { KeyLines, type KeyPath } from './key-lines.js';

export class ConfigText {
  readonly document: unknown;
  readonly #lines: KeyLines;

  readonly file: string;

  constructor({ file, text }: Pick<ConfigSource, 'file' | 'text'>) {
    this.file = file;
    this.document = parseToml(file, text);
    this.#lines = new KeyLines(text);
  }

  lineOf(path: KeyPath): number {
    return this.#lines.lineOf(path);
  }

  valueAt(path: KeyPath): unknown {
    return path.reduce<unknown>((value, key) => member(value, key), this.document);
  }

  fail(path: KeyPath, message: string, cause?: unknown): never {
    const where = `${this.file}:${this.lineOf(path)}`;
    throw new AgentError('CONFIGURATION', `${where}: ${this.#nameOf(path)}: ${message}`, { cause });
  }

  /** What `fail` says, for an error of a parser of ours: its message already tells what to do. */
  failFrom(path: KeyPath, cause: unknown): never {
    if (!(cause instanceof AgentError)) throw cause;
    if (cause.code === 'CONFIGURATION' && cause.message.startsWith(`${this.file}:`)) throw cause;
    this.fail(path, cause.message, cause);
  }

  /** token.web.sessions; a table without a usable name is counted from 1: token[2].sessions. */
  #nameOf(path: KeyPath): string {
    return path.reduce<string>((name, key, index) => {
      if (typeof key === 'string') return name === '' ? key : `${name}.${key}`;
      const tableName = member(this.valueAt(path.slice(0, index + 1)), 'name');
      return typeof tableName === 'string' && /^\S+$/.test(tableName)
        ? `${name}.${tableName}`
        : `${name}[${key + 1}]`;
    }, '');
  }
}

/** A file as it was read, whatever is in it. */
export interface ConfigSource {
  readonly file: string;
  readonly text: string;
  /** SHA-256 of its bytes, hex. */
  readonly hash: `sha256:${string}`;
}

/** @throws AgentError CONFIGURATION */
export function readConfigSource(file: string): ConfigSource {
  let bytes: Buffer;
  try {
    bytes = readFileSync(file);
  } catch (cause) {
    throw unreadable(file, cause);
  }
  const hash = createHash('sha256').update(bytes).digest('hex');
  return { file, text: bytes.toString('utf8'), hash: `sha256:${hash}` };
}

function parseToml(file: string, text: string): unknown {
  try {
    return parse(text);
  } catch (cause) {
    if (!(cause instanceof TomlError)) throw cause;
    // The parser's message goes on with an excerpt of the file.
    const [reason = 'syntax error'] = cause.message.split('\n');
    throw new AgentError('CONFIGURATION', `${file}:${cause.line}: ${reason}`, { cause });
  }
}

function member(value: unknown, key: string | number): unknown {
  if (typeof value !== 'object' || value === null || !Object.hasOwn(value, key)) return undefined;
  return (value as Record<string | number, unknown>)[key];
}
