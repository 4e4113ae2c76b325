/** docs/servers/matrix.md, from what `npm run matrix` has just measured. */
import { execFileSync } from 'node:child_process';
import { writeFileSync } from 'node:fs';
import path from 'node:path';
import { recordedParts, rowOf, tableFile, type Part } from '../servers/matrix-table.js';
import { root } from '../support/paths.js';

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
    tableFile,
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
    tableFile,
  ]);
}

const parts = recordedParts();
writeTable(
  parts.flatMap(({ cells }) => cells),
  parts.flatMap(({ shaken }) => shaken),
);
