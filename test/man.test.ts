/** The manual pages: well-formed, and the same as what they describe. */
import assert from 'node:assert/strict';
import { readFileSync, readdirSync, realpathSync } from 'node:fs';
import path from 'node:path';
import { test } from 'node:test';
import { knownKeys } from '@keyagent/agent/config/file-schema.js';
import { errorTable } from '@keyagent/protocol';
import { mustRun } from './support/command.js';
import { keyagentCommand, keyagentd, root } from './support/paths.js';

const installed = path.join(root, 'build/share/man');
const header = readFileSync(path.join(root, 'build/include/keyagent.h'), 'utf8');

/** Name and text of each page of a section; of a page with several names only its own. */
function pages(section: number): Map<string, string> {
  const folder = path.join(installed, `man${section}`);
  const names = readdirSync(folder).map((name) => path.basename(realpathSync(path.join(folder, name))));
  return new Map([...new Set(names)].map((name) => [name, readFileSync(path.join(folder, name), 'utf8')]));
}

const library = pages(3);

/** Options as `--help` lists them, but help and version, which every command has. */
function optionsOf(help: string): string[] {
  const own = help.split('Global Options:', 1)[0] ?? '';
  return [...own.matchAll(/^ {2}(?:-\w, )?--([a-z0-9-]+)/gm)]
    .map(([, name = '']) => name)
    .filter((name) => name !== 'help' && name !== 'version');
}

/** Options that a piece of a page describes, but help and version. */
function flagsOf(page: string): string[] {
  return [...page.matchAll(/^\.It Fl \\-([a-z0-9-]+)/gm)].map(([, name = '']) => name);
}

function page(section: number, file: string): string {
  return readFileSync(path.join(installed, `man${section}`, file), 'utf8');
}

/** What `keyagent --help` and those of its commands say, by command; "" for keyagent itself. */
async function helpOfCommands(): Promise<Map<string, string>> {
  const found = new Map<string, string>();
  const visit = async (command: string[]): Promise<void> => {
    const { stdout } = await mustRun(keyagentCommand, [...command, '--help']);
    const [, list = ''] = stdout.split('\nCommands:\n');
    const names = [...list.matchAll(/^ {2}([a-z][a-z-]*)/gm)].map(([, name = '']) => name);
    // A command that only groups others is described by them.
    if (names.length === 0 || command.length === 0) found.set(command.join(' '), stdout);
    for (const name of names) if (name !== 'help') await visit([...command, name]);
  };
  await visit([]);
  return found;
}

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
  for (const section of [1, 3, 5, 8]) {
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

test('keyagentd(8) describes every option, and no other', async () => {
  const { stdout } = await mustRun(keyagentd, ['--help']);
  const options = optionsOf(stdout);
  assert.ok(options.length >= 3);
  assert.deepEqual(flagsOf(page(8, 'keyagentd.8')), options);
});

test('keyagent(1) describes every command with its options, and no other', async () => {
  const text = page(1, 'keyagent.1').split(/^\.Sh ENVIRONMENT$/m, 1)[0] ?? '';
  const [preface = '', ...entries] = text.split(/^\.It Cm /m);
  const described = new Map([['', flagsOf(preface)]]);
  for (const entry of entries) {
    const [, command = ''] = /^([a-z-]+(?: [a-z-]+)?)(?: Op| Ar|$)/m.exec(entry) ?? [];
    described.set(command, flagsOf(entry));
  }
  const help = await helpOfCommands();
  assert.ok(help.size > 12);
  const expected = new Map([...help].map(([command, said]) => [command, optionsOf(said)]));
  assert.deepEqual(Object.fromEntries(described), Object.fromEntries(expected));
});

test('keyagent.toml(5) describes every key of every table, and no other', () => {
  const sections = page(5, 'keyagent.toml.5')
    .split(/^\.Ss /m)
    .slice(1);
  const described = sections.map((section) => {
    const [, table = ''] = /^\[*(\w+)/.exec(section) ?? [];
    const keys = [...section.matchAll(/^\.It Va (\w+)$/gm)].map(([, key = '']) => key);
    return [table, keys.sort()] as const;
  });
  const { '': tables = [], ...known } = knownKeys;
  for (const table of tables) assert.ok(table in known, table);
  const expected = Object.entries(known).map(([table, keys]) => [table, [...keys].sort()]);
  assert.deepEqual(Object.fromEntries(described), Object.fromEntries(expected));
});
