/**
 * Alone in a pid namespace, where the next pid can be chosen: a peer connects and ends, and another process of the same
 * program gets its pid. Argument: the path of a socket to make. Prints what is known of the peer before and after.
 */
import { spawn, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { writeFileSync } from 'node:fs';
import { createServer, type Socket } from 'node:net';
import { identify } from '@keyagent/agent/socket/peer.js';

const socketPath = process.argv[2] ?? '';
const program =
  'process.argv[1] && require("node:net").connect(process.argv[1]); process.stdin.resume().on("end", () => process.exit())';

function start(...args: string[]): ChildProcess {
  return spawn(process.execPath, ['-e', program, ...args], { stdio: ['pipe', 'inherit', 'inherit'] });
}

async function end(child: ChildProcess): Promise<void> {
  child.stdin?.end();
  await once(child, 'exit');
}

const server = createServer({ allowHalfOpen: true }).listen(socketPath);
await once(server, 'listening');
const first = start(socketPath);
const [socket] = (await once(server, 'connection')) as [Socket];
// As on a kernel that cannot say whether a peer lives.
const peer = identify(socket, 65534, () => null);
const look = (): object => ({ runs: peer.program?.().runs(process.execPath), sure: peer.sure });
const before = look();
await end(first);
writeFileSync('/proc/sys/kernel/ns_last_pid', String((first.pid ?? 0) - 1));
const second = start();
process.stdout.write(JSON.stringify({ isReused: second.pid === first.pid, before, after: look() }));
await end(second);
process.exit();
