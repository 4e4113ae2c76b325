/** The manual pages: well-formed, and the same as what they describe. */
import assert from 'node:assert/strict';
import { readFileSync, readdirSync, realpathSync } from 'node:fs';
import path from 'node:path';
import { test } from 'node:test';
import { errorTable } from '@keyagent/protocol';
import { mustRun } from './support/command.js';
import { root } from './support/paths.js';

const installed = path.join(root, 'build/share/man');
const header = readFileSync(path.join(root, 'build/include/keyagent.h'), 'utf8');

/** Name and text of each page of a section; of a page with several names only its own. */
function pages(section: number): Map<string, string> {
  const folder = path.join(installed, `man${section}`);
  const names = readdirSync(folder).map((name) => path.basename(realpathSync(path.join(folder, name))));
  return new Map([...new Set(names)].map((name) => [name, readFileSync(path.join(folder, name), 'utf8')]));
}

const library = pages(3);

/** "type name(type argument, ...)" by function. */
type Prototypes = Map<string, string>;

function prototype(type: string, name: string, args: readonly string[]): string {
  const text = `${type} ${name}(${args.join(', ')})`;
  return text.replace(/\s+/g, ' ').replace(/\* /g, '*').trim();
}

function declared(): Prototypes {
  const code = header.replace(/\/\*[^]*?\*\//g, '');
  const found = code.matchAll(/KA_API (?:KA_MUSTUSE )?([^;(]*?)(ka_\w+)\(([^;]*)\);/g);
  return new Map(
    [...found].map(([, type = '', name = '', args = '']) => [name, prototype(type, name, [args])]),
  );
}

function documented(page: string): [string, string][] {
  const synopsis = /^\.Sh SYNOPSIS\n([^]*?)^\.Sh /m.exec(page)?.[1] ?? '';
  const found = synopsis.matchAll(/^\.Ft "?(.*?)"?\n\.Fo (\w+)\n((?:\.Fa .*\n)*)\.Fc$/gm);
  return [...found].map(([, type = '', name = '', args = '']) => {
    const list = [...args.matchAll(/^\.Fa "(.*)"$/gm)].map(([, arg = '']) => arg);
    return [name, prototype(type, name, list)];
  });
}

test('mandoc has nothing to say about any page', async () => {
  for (const section of [3]) {
    const folder = path.join(installed, `man${section}`);
    const files = [...pages(section).keys()].map((name) => path.join(folder, name));
    assert.ok(files.length > 0);
    await mustRun('mandoc', ['-T', 'lint', '-W', 'warning', ...files]);
  }
});

test('every function of keyagent.h is in exactly one page, as it is declared, and nothing else is', () => {
  const functions = [...library.values()].flatMap(documented).sort();
  assert.ok(functions.length > 30);
  assert.deepEqual(functions, [...declared()].sort());
});

test('a page is found by the name of each of its functions', () => {
  for (const [file, text] of library) {
    for (const [name] of documented(text)) {
      assert.equal(path.basename(realpathSync(path.join(installed, 'man3', `${name}.3`))), file);
      assert.match(text, new RegExp(`^\\.Nm ${name}( ,)?$`, 'm'));
    }
  }
});

test('ka_error(3) explains every status', () => {
  const page = library.get('ka_error.3') ?? '';
  const explained = [...page.matchAll(/^\.It Dv KA_ERR_(\w+)$/gm)].map(([, name]) => name);
  assert.deepEqual(explained, Object.keys(errorTable));
});

test('every constant that a page names is one of keyagent.h', () => {
  const constants = new Set(header.match(/\bKA_[A-Z0-9_]+\b/g));
  const named = [...library.values()].flatMap((text) =>
    text.replace(/^\.Dt .*$/m, '').match(/\bKA_[A-Z0-9_]+\b/g),
  );
  assert.ok(named.length > 50);
  assert.deepEqual(
    named.filter((name) => name !== null && !constants.has(name)),
    [],
  );
});
