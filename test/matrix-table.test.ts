/** The table that `npm run matrix` writes. */
import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { test } from 'node:test';
import { agentRestarts, cells, knownFailures, load, reloads, skipped } from './servers/cells.js';
import { kindNames } from './servers/fleet.js';
import { rowOf, tableFile } from './servers/matrix-table.js';

test('the table in docs/servers/ has every cell that the matrix runs, without a failure', () => {
  const table = readFileSync(tableFile, 'utf8').replaceAll(/ +/g, ' ');
  const expected = cells().filter((cell) => !skipped.some((each) => rowOf(each) === rowOf(cell)));
  for (const cell of expected) assert.ok(table.includes(`${rowOf(cell)} ${load.count} | 0 |`), rowOf(cell));
  for (const name of kindNames) {
    for (const event of name === 'openssl s_server' ? [agentRestarts] : [agentRestarts, reloads]) {
      const known = knownFailures.some((each) => each.server === name && each.event === event);
      const row = `${literal(`| ${name} | ${event} |`)} [1-9]\\d* \\| ${known ? '\\d+' : '0'} \\|`;
      assert.match(table, new RegExp(row));
    }
  }
});

function literal(text: string): string {
  return text.replaceAll(/[|.]/g, '\\$&');
}
