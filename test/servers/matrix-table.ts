/** docs/servers/matrix.md: what the matrix measured. Written when asked, so that a test leaves no trace otherwise. */
import { execFileSync } from 'node:child_process';
import { mkdirSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { root } from '../support/paths.js';
import type { Cell } from './cells.js';
import { kinds } from './fleet.js';

export interface Tally {
  tried: number;
  failed: number;
}

export interface Shaken {
  server: string;
  /** What happened while clients connected. */
  event: string;
  tried: number;
  failed: number;
  /** Of failures that have nothing to do with keys. */
  because: string | undefined;
}

/** What one file of tests measured. */
interface Part {
  cells: readonly (Cell & Tally)[];
  shaken: readonly Shaken[];
}

const file = path.join(root, 'docs/servers/matrix.md');
/** One file for each part: the files of tests run beside each other. */
const parts = path.join(root, 'build/matrix');
const packages = [
  'apache2-bin',
  'nginx',
  'haproxy',
  'stunnel4',
  'postgresql-15',
  'curl',
  'openssl',
  'libssl3',
];

export function committedTable(): string {
  return readFileSync(file, 'utf8');
}

/** A row without its numbers: what a cell looks like in the table. */
export function rowOf({ server, key, mode }: Cell): string {
  const model = server === 'curl' ? 'one process' : kinds[server].model;
  return `| ${server} | ${model} | ${key} | ${mode} |`;
}

/** Keeps what was measured, and writes the table of all that is kept; if the environment asks for it. */
export function record(group: string, part: Part): void {
  if (process.env.KEYAGENT_WRITE_MATRIX !== '1') return;
  mkdirSync(parts, { recursive: true });
  writeFileSync(path.join(parts, `${group}.json`), JSON.stringify(part));
  const all = readdirSync(parts).map(
    (name) => JSON.parse(readFileSync(path.join(parts, name), 'utf8')) as Part,
  );
  writeTable(
    all.flatMap((each) => each.cells),
    all.flatMap((each) => each.shaken),
  );
}

function writeTable(cells: Part['cells'], shaken: Part['shaken']): void {
  const versions = packages.map((name) =>
    execFileSync('dpkg-query', ['-W', '-f=${Package} ${Version}', name]),
  );
  const rows = cells.map((cell) => `${rowOf(cell)} ${cell.tried} | ${cell.failed} |`);
  const events = shaken.map(
    ({ server, event, tried, failed, because = '' }) =>
      `| ${server} | ${event} | ${tried} | ${failed} | ${because} |`,
  );
  writeFileSync(
    file,
    `# What was tried with which server

Written by \`npm run matrix\`; the same handshakes run in \`npm test\`. Each server starts from Debian's configuration and
from what \`keyagent conf\` prints, under its unit's user; its keys are in a SoftHSM token. A handshake counts when the
certificate's chain verified and the server's answer (HTTP 200, PostgreSQL's first message) came back over it; none resumes
a session. Eight clients at a time. For curl the key is the client's, and the server demands it.

${versions.map(String).join(', ')}.

| server | the key is used by | key | handshake | tried | failed |
| --- | --- | --- | --- | --- | --- |
${rows.join('\n')}

## While something else happens

A handshake that began after the agent was told to stop and before its token was unlocked again is not counted.

| server | meanwhile | tried | failed | with key files too |
| --- | --- | --- | --- | --- |
${events.join('\n')}
`,
  );
  execFileSync(process.execPath, [
    path.join(root, 'node_modules/prettier/bin/prettier.cjs'),
    '--write',
    file,
  ]);
}
