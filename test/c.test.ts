/** The C parts' own tests (cmocka, through meson): as built, under sanitizers, under valgrind; and what the libraries need. */
import assert from 'node:assert/strict';
import { existsSync } from 'node:fs';
import path from 'node:path';
import { test } from 'node:test';
import { mustRun } from './support/command.js';
import { providerModule, root } from './support/paths.js';

const timeoutMs = 600_000;
const builds = path.join(root, 'build');
const options = { cwd: root, timeoutMs };

/** meson calls an empty list of tests a success; here it is none. */
async function mesonTest(directory: string, ...args: string[]): Promise<void> {
  const common = ['test', '-C', directory, '--num-processes=2', '--print-errorlogs'];
  const { stdout } = await mustRun('meson', [...common, ...args], options);
  assert.match(stdout, /^Ok: +[1-9]/m);
  assert.match(stdout, /^Skipped: +0/m);
}

test('the C library and the provider pass their tests', async () => {
  await mesonTest(path.join(builds, 'meson/c'));
});

for (const sanitizer of ['address,undefined', 'thread']) {
  test(`the C library and the provider pass their tests under -fsanitize=${sanitizer}`, async () => {
    const directory = path.join(builds, `meson-${sanitizer.replace(',', '-')}/c`);
    if (!existsSync(path.join(directory, 'build.ninja'))) {
      const sanitize = [`-Db_sanitize=${sanitizer}`, '-Db_lundef=false', '-Doptimization=1'];
      await mustRun('meson', ['setup', directory, 'clients/c', ...sanitize], options);
    }
    await mesonTest(directory);
  });
}

test('valgrind finds nothing wrong and nothing lost in the C library and the provider', async () => {
  const directory = path.join(builds, 'meson/c');
  const { stdout } = await mustRun('meson', ['test', '-C', directory, '--list'], options);
  const programs = [...stdout.matchAll(/^.* \/ (.+)$/gm)].flatMap(([, name]) =>
    name === undefined || name === 'exports' ? [] : [name],
  );
  // What a forked child holds of its parent's is lost when it ends, by design: there only wrong accesses count.
  const forking = programs.filter((name) => name.endsWith('process'));
  const others = programs.filter((name) => !forking.includes(name));
  assert.ok(forking.length > 0 && others.length > 10);
  const valgrind = 'valgrind --quiet --vgdb=no --error-exitcode=99';
  const leaks = '--leak-check=full --errors-for-leak-kinds=definite,indirect';
  await mesonTest(directory, `--wrapper=${valgrind} ${leaks}`, '--timeout-multiplier=10', ...others);
  await mesonTest(directory, `--wrapper=${valgrind}`, '--timeout-multiplier=10', ...forking);
});

test("the addon's padding passes its tests, always under ASan and UBSan", async () => {
  await mesonTest(path.join(builds, 'meson/native'));
});

for (const library of [path.join(builds, 'lib/libkeyagent.so.1'), providerModule]) {
  test(`${path.basename(library)} needs no libcrypto and exports nothing but its own`, async () => {
    const { stdout } = await mustRun('readelf', ['--dynamic', '--wide', library]);
    const needed = [...stdout.matchAll(/\(NEEDED\).*\[(.*)\]/g)].map(([, name]) => name);
    assert.ok(needed.includes('libc.so.6'));
    // The loader is a part of libc: it gives each thread its own variables.
    const allowed = /^(ld-linux[\w.-]*|libc\.so\.6|libmd\.so\.0|libpthread\.so\.0|libkeyagent\.so\.1)$/;
    assert.deepEqual(
      needed.filter((name) => name === undefined || !allowed.test(name)),
      [],
    );
    const symbols = (await mustRun('nm', ['--dynamic', '--defined-only', '--format=just-symbols', library]))
      .stdout;
    const foreign = symbols
      .split('\n')
      .filter((name) => !/^($|ka_|LIBKEYAGENT_|OSSL_provider_init$)/.test(name));
    assert.deepEqual(foreign, []);
  });
}
