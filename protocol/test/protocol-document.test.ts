/** PROTOCOL.md and the tables in code say the same. */
import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { test } from 'node:test';
import {
  algorithms,
  errorFields,
  errorTable,
  hashLength,
  keyAlgorithms,
  keyStates,
  limits,
  mechanisms,
  methods,
  notifications,
  protocolVersion,
  sourceNames,
  tokenStates,
  type AlgorithmEntry,
  type Field,
  type Fields,
} from '@keyagent/protocol';

const document = readFileSync(new URL('../../PROTOCOL.md', import.meta.url), 'utf8');

/** The text between a heading and the next one. */
function section(heading: string): string {
  const start = document.indexOf(`\n${heading}\n`);
  assert(start >= 0, `no heading "${heading}"`);
  const body = document.slice(start + heading.length + 2);
  const end = body.search(/^##/m);
  return end < 0 ? body : body.slice(0, end);
}

/** Cells of the rows of the table whose first column is called `name`. */
function table(text: string, name: string): string[][] {
  const lines = text.split('\n');
  const header = lines.findIndex((line) => line.split('|')[1]?.trim() === name);
  if (header < 0) return [];
  const rest = lines.slice(header + 2);
  const end = rest.findIndex((line) => !line.startsWith('|'));
  return rest.slice(0, end < 0 ? rest.length : end).map((line) =>
    line
      .split('|')
      .slice(1, -1)
      .map((cell) => cell.trim()),
  );
}

function typeOf(field: Field): string {
  switch (field.kind) {
    case 'uint':
    case 'bool':
    case 'map':
      return field.kind;
    case 'enum':
      return 'name';
    case 'str':
    case 'bin':
      return `${field.kind} ≤ ${field.max}`;
    case 'list':
      return `list ≤ ${field.max} of ${typeOf(field.of)}`;
  }
}

/** Rows as the document must have them, without the meaning. */
function rowsOf(fields: Fields, prefix = ''): string[][] {
  return Object.entries(fields).flatMap(([name, field]) => {
    const row = [`\`${prefix}${name}\``, typeOf(field), field.optional === true ? 'yes' : 'no'];
    const inner =
      field.kind === 'list' && field.of.kind === 'map' ? rowsOf(field.of.fields, `${prefix}${name}[].`) : [];
    return [row, ...inner];
  });
}

function documented(text: string, name: string): string[][] {
  return table(text, name).map((cells) => {
    assert((cells[3] ?? '') !== '', `${cells[0]} has no meaning`);
    return cells.slice(0, 3);
  });
}

test('each method has a section with its sockets, params and result', () => {
  for (const [name, { faces, params, result }] of Object.entries(methods)) {
    const text = section(`### \`${name}\``);
    assert(text.includes(`Sockets: ${faces.join(', ')}.`), `${name}: sockets`);
    assert.deepEqual(documented(text, 'params'), rowsOf(params), `${name}: params`);
    assert.deepEqual(documented(text, 'result'), rowsOf(result), `${name}: result`);
  }
});

test('each notification has a section with its sender and params', () => {
  for (const [name, { from, params }] of Object.entries(notifications)) {
    const text = section(`### \`${name}\``);
    assert(text.includes(`From the ${from}`), `${name}: from`);
    assert.deepEqual(documented(text, 'params'), rowsOf(params), name);
  }
});

test('the document has no section for a method or notification that does not exist', () => {
  const sections = [...document.matchAll(/^### `(.+)`$/gm)].map(([, name]) => name);
  assert.deepEqual(sections.sort(), [...Object.keys(methods), ...Object.keys(notifications)].sort());
});

test('errors: fields, numbers, names, retryable and meanings', () => {
  const text = section('## 10. Errors');
  assert.deepEqual(documented(text, 'error'), rowsOf(errorFields));
  const expected = Object.entries(errorTable).map(([name, { number, retryable, meaning }]) => [
    String(number),
    `\`${name}\``,
    retryable ? 'yes' : 'no',
    meaning,
  ]);
  assert.deepEqual(table(text, 'number'), expected);
});

test('names: algorithms, and every list', () => {
  const text = section('## 12. Names');
  const expected = Object.entries<AlgorithmEntry>(algorithms).map(
    ([name, { operation, mechanism, hash }]) => [
      `\`${name}\``,
      operation,
      `\`${mechanism}\``,
      hash === undefined ? '-' : `\`${hash}\``,
    ],
  );
  assert.deepEqual(table(text, 'algorithm'), expected);
  const lists = table(text, 'list').map(([name, names]) => [
    name,
    [...(names ?? '').matchAll(/`([^`]+)`/g)].map((match) => match[1]),
  ]);
  assert.deepEqual(lists, [
    ['mechanism', [...mechanisms]],
    ['key algorithm', [...keyAlgorithms]],
    ['token state', [...tokenStates]],
    ['key state', [...keyStates]],
    ['PIN source', [...sourceNames]],
    ['signature format', [...methods.sign.params.format.values]],
  ]);
  for (const [hash, length] of Object.entries(hashLength))
    assert(text.includes(`\`${hash}\` ${length}`), hash);
});

test('limits: names and values, and the version', () => {
  const rows = table(section('## 13. Limits'), 'limit').map((cells) => cells.slice(0, 2));
  assert.deepEqual(
    rows,
    Object.entries(limits).map(([name, value]) => [`\`${name}\``, String(value)]),
  );
  assert(document.startsWith(`# The keyagent protocol, version ${protocolVersion.max}\n`));
});
