/** Formats every C file that is ours with clang-format; with --check only says which ones differ. */
import { spawnSync } from 'node:child_process';
import { readdirSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';

const root = join(dirname(fileURLToPath(import.meta.url)), '..');
const folders = ['clients/c', 'agent/native', 'test/module'];

const files = folders.flatMap((folder) =>
  readdirSync(join(root, folder), { recursive: true })
    .filter((name) => /\.[ch]$/.test(name) && !/_gen\.[ch]$/.test(name) && !/(^|\/)subprojects\//.test(name))
    .map((name) => join(folder, name)),
);
const mode = process.argv.includes('--check') ? ['--dry-run', '--Werror'] : ['-i'];
const { status, error } = spawnSync('clang-format', [...mode, ...files], { cwd: root, stdio: 'inherit' });
if (error) console.error(`clang-format: ${error.message}; npm run setup installs it`);
process.exitCode = files.length === 0 ? 0 : (status ?? 1);
