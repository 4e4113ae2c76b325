/**
 * Writes what the C library takes from this package: clients/c/src/protocol_gen.h (names, numbers and limits)
 * and clients/c/test/vectors_gen.h (the reply vectors). `--check` writes nothing and exits 1 on a difference.
 */
import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { algorithmNames, hashLength, keyAlgorithms, mechanisms } from './algorithms.js';
import { errorTable, type ErrorCode } from './errors.js';
import { limits, protocolVersion } from './limits.js';
import {
  errorFields,
  keyStates,
  methods,
  notifications,
  tokenStates,
  type Field,
  type Fields,
} from './schema.js';

/** As in vectors/README.md. */
interface Vector {
  readonly name: string;
  readonly direction: 'request' | 'reply' | 'notice';
  readonly method?: string;
  readonly hex: string;
  readonly id?: number;
  readonly code?: ErrorCode;
  readonly value?: {
    readonly error?: { readonly code: number };
    readonly result?: Readonly<Record<string, unknown>>;
  };
}

const root = join(__dirname, '../..');
/** The request that is open when a malformed reply arrives. */
const openRequestId = 7;

function macro(...words: string[]): string {
  return ['KA_WIRE', ...words].join('_').toUpperCase().replaceAll('-', '_');
}

function defineAll(prefix: string, names: readonly string[]): string[] {
  return names.map((name) => `#define ${macro(prefix, name)} "${name}"`);
}

/** One line for each length of a field; lists count items, and their items have a line of their own. */
function fieldLimits(prefix: readonly string[], fields: Fields): string[] {
  return Object.entries(fields).flatMap(([name, field]) => fieldLimit([...prefix, name], field));
}

function fieldLimit(path: readonly string[], field: Field): string[] {
  switch (field.kind) {
    case 'str':
    case 'bin':
      return [`#define ${macro('MAX', ...path)} ${field.max}u`];
    case 'list':
      return [`#define ${macro('MAX', ...path)} ${field.max}u`, ...fieldLimit([...path, 'item'], field.of)];
    case 'map':
      return fieldLimits(path, field.fields);
    case 'uint':
    case 'bool':
    case 'enum':
      return [];
  }
}

function fieldNames(fields: Fields): string[] {
  return Object.entries(fields).flatMap(([name, field]) => {
    const inner = field.kind === 'list' ? field.of : field;
    return inner.kind === 'map' ? [name, ...fieldNames(inner.fields)] : [name];
  });
}

/** Methods that a C client uses: those of the client socket. */
const clientMethods = Object.entries(methods).filter(([, { faces }]) =>
  (faces as readonly string[]).includes('client'),
);

function protocolHeader(): string {
  const names = clientMethods.flatMap(([, { params, result }]) => [
    ...fieldNames(params),
    ...fieldNames(result),
  ]);
  const fields = [...new Set([...names, ...fieldNames(errorFields)])];
  const errors = Object.entries(errorTable);
  return [
    '/* Written by protocol/gen-c-header.ts from the tables of the protocol; do not edit. PROTOCOL.md explains. */',
    '/* clang-format off */',
    '#ifndef KA_PROTOCOL_GEN_H',
    '#define KA_PROTOCOL_GEN_H',
    '',
    `#define ${macro('VERSION_MIN')} ${protocolVersion.min}u`,
    `#define ${macro('VERSION_MAX')} ${protocolVersion.max}u`,
    '',
    '/* Limits: bytes, or a count. */',
    ...Object.entries(limits).map(([name, value]) => `#define ${macro('LIMIT', snake(name))} ${value}u`),
    '',
    '/* Numbers of the error table. */',
    ...errors.map(([name, { number }]) => `#define ${macro('ERR', name)} ${number}`),
    '',
    '/* X(name, number, retryable) */',
    '#define KA_WIRE_ERROR_TABLE(X) \\',
    errors
      .map(([name, { number, retryable }]) => `    X(${name}, ${number}, ${retryable ? 1 : 0})`)
      .join(' \\\n'),
    '',
    ...defineAll(
      'METHOD',
      clientMethods.map(([name]) => name),
    ),
    ...defineAll('NOTICE', Object.keys(notifications)),
    '',
    ...defineAll('ALG', algorithmNames),
    ...defineAll('KEY', keyAlgorithms),
    ...defineAll('MECHANISM', mechanisms),
    ...defineAll('TOKEN', tokenStates),
    ...defineAll('KEY_STATE', keyStates),
    ...Object.entries(hashLength).map(([name, length]) => `#define ${macro('HASH_LENGTH', name)} ${length}u`),
    '',
    ...defineAll('FIELD', fields),
    '',
    '/* Limits of single fields: bytes of a string or of binary data, items of a list. */',
    ...clientMethods.flatMap(([name, { params, result }]) => [
      ...fieldLimits([name, 'params'], params),
      ...fieldLimits([name, 'result'], result),
    ]),
    ...fieldLimits(['error'], errorFields),
    '',
    '#endif',
    '',
  ].join('\n');
}

function snake(name: string): string {
  return name.replaceAll(/[A-Z]/g, (letter) => `_${letter}`);
}

function vectorsHeader(): string {
  const valid = readVectors('valid.json').filter(({ direction }) => direction === 'reply');
  const malformed = readVectors('malformed.json').filter(({ direction }) => direction === 'reply');
  const all = [...valid, ...malformed];
  return [
    '/* Written by protocol/gen-c-header.ts from protocol/vectors; do not edit. */',
    '/* clang-format off */',
    '#ifndef KA_VECTORS_GEN_H',
    '#define KA_VECTORS_GEN_H',
    '',
    '#include <stddef.h>',
    '#include <stdint.h>',
    '',
    '/* A reply as an agent may send it, to the request `id` that asked `method`. */',
    'struct ka_reply_vector {',
    '    const char *name;',
    '    const char *method;',
    '    uint32_t id;',
    '    int code;             /* number of the expected error; 0: a result */',
    '    int malformed;        /* 1: the reply breaks the protocol; the connection is closed */',
    '    const uint8_t *frame; /* length prefix included */',
    '    size_t frame_len;',
    '    const uint8_t *payload; /* the signature or plaintext of a result; NULL for the rest */',
    '    size_t payload_len;',
    '};',
    '',
    ...all.flatMap((vector, index) => vectorBytes(vector, index)),
    '',
    'static const struct ka_reply_vector ka_reply_vectors[] = {',
    ...all.map((vector, index) => vectorRow(vector, index)),
    '};',
    '#define KA_REPLY_VECTOR_COUNT (sizeof(ka_reply_vectors) / sizeof(ka_reply_vectors[0]))',
    '',
    '#endif',
    '',
  ].join('\n');
}

function readVectors(file: string): Vector[] {
  return JSON.parse(readFileSync(`${root}/protocol/vectors/${file}`, 'utf8')) as Vector[];
}

/** undefined: no payload; '': a payload of no bytes. */
function payloadHex({ value }: Vector): string | undefined {
  const payload = value?.result?.['signature'] ?? value?.result?.['plaintext'];
  return typeof payload === 'string' ? payload.slice('hex:'.length) : undefined;
}

function vectorBytes(vector: Vector, index: number): string[] {
  const payload = payloadHex(vector);
  const lines = [byteArray(`ka_frame_${index}`, vector.hex)];
  if (payload !== undefined && payload !== '') lines.push(byteArray(`ka_payload_${index}`, payload));
  return lines;
}

function byteArray(name: string, hex: string): string {
  const bytes = [...Buffer.from(hex, 'hex')].map((byte) => `0x${byte.toString(16).padStart(2, '0')}`);
  const lines: string[] = [];
  for (let i = 0; i < bytes.length; i += 18) lines.push(`    ${bytes.slice(i, i + 18).join(', ')},`);
  return `static const uint8_t ${name}[] = {\n${lines.join('\n')}\n};`;
}

function vectorRow(vector: Vector, index: number): string {
  const { name, method, id, code, value } = vector;
  if (method === undefined) throw new Error(`vector "${name}" names no method`);
  const payload = payloadHex(vector);
  const pointer = payload === undefined || payload === '' ? 'NULL' : `ka_payload_${index}`;
  const expected = code === undefined ? effectiveCode(value?.error?.code) : errorTable[code].number;
  const openId = code === undefined ? id : openRequestId;
  return [
    `    { ${JSON.stringify(name)}, "${method}", ${openId}u, ${expected}, ${code === undefined ? 0 : 1},`,
    ` ka_frame_${index}, ${vector.hex.length / 2}, ${pointer}, ${(payload ?? '').length / 2} },`,
  ].join('');
}

/** A number that is not in the table counts as INTERNAL (PROTOCOL.md, "Errors"). */
function effectiveCode(number: number | undefined): number {
  if (number === undefined) return 0;
  const known = Object.values(errorTable).some((entry) => entry.number === number);
  return known ? number : errorTable.INTERNAL.number;
}

const outputs = [
  [`${root}/clients/c/src/protocol_gen.h`, protocolHeader()],
  [`${root}/clients/c/test/vectors_gen.h`, vectorsHeader()],
] as const;

const check = process.argv.includes('--check');
for (const [path, text] of outputs) {
  if (!check) writeFileSync(path, text);
  else if (currentText(path) !== text) {
    process.stderr.write(
      `${path} is not what gen-c-header writes; run: node protocol/dist/gen-c-header.js\n`,
    );
    process.exitCode = 1;
  }
}

function currentText(path: string): string | undefined {
  try {
    return readFileSync(path, 'utf8');
  } catch (error) {
    if (error instanceof Error && 'code' in error && error.code === 'ENOENT') return undefined;
    throw error;
  }
}
