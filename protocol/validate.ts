/**
 * Closed-schema check of decoded values: every field known, every required field there, every type right.
 * Input: the fields of schema.ts and a map as the decoder made it. Output: nothing, or AgentError MALFORMED,
 * or TOO_LARGE if everything is well-formed and only a limit is passed.
 */
import { AgentError } from './errors.js';
import type { Field, Fields } from './schema.js';

/** A decoded map: its keys came off the wire, so they are looked up only by names of the schema. */
export type Decoded = Readonly<Record<string, unknown>>;

interface CompiledField {
  readonly name: string;
  readonly field: Field;
}

const compiled = new WeakMap<Fields, readonly CompiledField[]>();

function compile(fields: Fields): readonly CompiledField[] {
  let entries = compiled.get(fields);
  if (entries === undefined) {
    entries = Object.entries(fields).map(([name, field]) => ({ name, field }));
    compiled.set(fields, entries);
  }
  return entries;
}

export function isMap(value: unknown): value is Decoded {
  return (
    typeof value === 'object' && value !== null && !Array.isArray(value) && !(value instanceof Uint8Array)
  );
}

/** @throws AgentError MALFORMED or TOO_LARGE, naming the field but never its value */
export function validate(fields: Fields, value: unknown, what: string): void {
  const over = checkMap(fields, value, what);
  if (over !== undefined) throw new AgentError('TOO_LARGE', `${over} is over its limit`);
}

/** These return the path of a field that is over its limit, so that a malformed one beside it wins. */
function checkMap(fields: Fields, value: unknown, what: string): string | undefined {
  if (!isMap(value)) throw new AgentError('MALFORMED', `${what} is not a map`);
  let over: string | undefined;
  let known = 0;
  for (const { name, field } of compile(fields)) {
    if (Object.hasOwn(value, name)) {
      known++;
      over = checkField(field, value[name], name) ?? over;
    } else if (field.optional !== true) {
      throw new AgentError('MALFORMED', `${what} lacks ${name}`);
    }
  }
  if (known !== Object.keys(value).length) throw new AgentError('MALFORMED', `${what} has an unknown field`);
  return over;
}

function checkField(field: Field, value: unknown, name: string): string | undefined {
  switch (field.kind) {
    case 'uint':
      if (!Number.isInteger(value) || (value as number) < 0) throw wrongType(name, 'an unsigned integer');
      return (value as number) > field.max ? name : undefined;
    case 'bool':
      if (typeof value !== 'boolean') throw wrongType(name, 'a boolean');
      return undefined;
    case 'str':
      if (typeof value !== 'string') throw wrongType(name, 'a string');
      return utf8LongerThan(value, field.max) ? name : undefined;
    case 'enum':
      if (typeof value !== 'string' || !field.values.includes(value))
        throw wrongType(name, 'one of its names');
      return undefined;
    case 'bin':
      if (!(value instanceof Uint8Array)) throw wrongType(name, 'bytes');
      return value.length > field.max ? name : undefined;
    case 'list':
      return checkList(field.of, field.max, value, name);
    case 'map':
      return checkMap(field.fields, value, name);
  }
}

function checkList(of: Field, max: number, value: unknown, name: string): string | undefined {
  if (!Array.isArray(value)) throw wrongType(name, 'a list');
  let over = value.length > max ? name : undefined;
  for (const item of value as unknown[]) over = checkField(of, item, name) ?? over;
  return over;
}

function wrongType(name: string, expected: string): AgentError {
  return new AgentError('MALFORMED', `${name} is not ${expected}`);
}

/** A UTF-16 unit takes one to three bytes, so most strings are judged without counting. */
function utf8LongerThan(text: string, max: number): boolean {
  if (text.length * 3 <= max) return false;
  return text.length > max || Buffer.byteLength(text) > max;
}
