/** The matrix, last part: the other servers, a client, and the table that `npm run matrix` writes of all parts. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { agentRestarts, cells, skipped } from './servers/cells.js';
import { kindNames } from './servers/fleet.js';
import { committedTable, rowOf } from './servers/matrix-table.js';
import { runCurl, runMatrix } from './servers/matrix.js';

test('the table in docs/servers/ has every cell that the matrix runs, without a failure', () => {
  const table = committedTable().replaceAll(/ +/g, ' ');
  const expected = cells().filter((cell) => !skipped.some((each) => rowOf(each) === rowOf(cell)));
  for (const cell of expected) assert.match(table, new RegExp(`${literal(rowOf(cell))} [1-9]\\d* \\| 0 \\|`));
  for (const name of kindNames) {
    assert.match(table, new RegExp(`${literal(`| ${name} | ${agentRestarts} |`)} [1-9]\\d* \\| 0 \\|`));
  }
});

function literal(text: string): string {
  return text.replaceAll(/[|.]/g, '\\$&');
}

runMatrix('others', ['stunnel', 'PostgreSQL', 'openssl s_server']);
runCurl();
