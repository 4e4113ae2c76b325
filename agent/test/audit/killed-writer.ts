/**
 * A process that writes a log and does not end in order. Arguments: the log, the state directory, how many signatures to
 * record, and "kill" (once the head names the last record), "kill-at-once" or "stay" (until standard input ends).
 */
import { AuditLog } from '@keyagent/agent/audit/audit-log.js';
import { headPaths, readHead, readHeadKey } from '@keyagent/agent/audit/head.js';
import { setTimeout as delay } from 'node:timers/promises';
import { sign } from './scratch-log.js';

const [file = '', stateDir = '', count = '', then] = process.argv.slice(2);
const log = new AuditLog({
  file,
  stateDir,
  onError: 'deny',
  tell: (message) => process.stderr.write(message),
});
await sign(log, Number(count));
if (then === 'kill') await headNames(Number(count) + 1);
if (then !== 'stay') process.kill(process.pid, 'SIGKILL');
process.stdout.write('written\n');
process.stdin.on('end', () => process.exit()).resume();

async function headNames(seq: number): Promise<void> {
  const { head: file, key } = headPaths(stateDir);
  for (;;) {
    const head = readHead(file, readHeadKey(key));
    if (typeof head === 'object' && head.seq === seq) return;
    await delay(5);
  }
}
