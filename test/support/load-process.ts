/**
 * A client that loads the agent, in a process of its own and as any user: keeps a number of signatures in flight on each
 * of its connections. Told on standard input what to do, one line each; prints one JSON line for each.
 *   sign COUNT   makes so many and prints their latencies
 *   flood        goes on until the next line, and prints how many there were
 */
import { writeFileSync } from 'node:fs';
import { createInterface } from 'node:readline';
import { setTimeout as delay } from 'node:timers/promises';
import { AgentError, connectCaller, type Caller } from '@keyagent/protocol';
import type { Latencies, LoadSpec } from './load.js';

const spec = JSON.parse(process.argv[2] ?? '') as LoadSpec;
const { uri, alg, ciphertext } = spec;

function use(caller: Caller): Promise<unknown> {
  const options = { timeoutMs: 60_000 };
  if (ciphertext === undefined)
    return caller.call('sign', { uri, alg, message: Buffer.from('a message to be signed') }, options);
  return caller.call('decrypt', { uri, alg, ciphertext: Buffer.from(ciphertext, 'hex') }, options);
}

let lastLine = 0;

async function signOn(caller: Caller, more: () => boolean, latencies: number[] | undefined): Promise<number> {
  let count = 0;
  while (more()) {
    const startedAt = performance.now();
    try {
      await use(caller);
    } catch (error) {
      if (!(error instanceof AgentError) || error.code !== 'BUSY') throw error;
      // More than the agent takes from one user.
      await delay(error.retryAfterMs ?? 0);
      continue;
    }
    count++;
    latencies?.push(performance.now() - startedAt);
  }
  return count;
}

async function signOnAll(more: () => boolean, latencies?: number[]): Promise<number> {
  const lanes = callers.flatMap((caller) =>
    Array.from({ length: spec.inFlight }, () => signOn(caller, more, latencies)),
  );
  return (await Promise.all(lanes)).reduce((sum, count) => sum + count, 0);
}

async function sign(count: number): Promise<Latencies> {
  const latencies: number[] = [];
  let left = count;
  await signOnAll(() => left-- > 0, latencies);
  latencies.sort((a, b) => a - b);
  const at = (part: number): number => latencies[Math.floor(part * latencies.length)] ?? NaN;
  return { count: latencies.length, medianMs: at(0.5), p99Ms: at(0.99) };
}

async function obey(line: string): Promise<object> {
  const [verb, count] = line.split(' ');
  if (verb === 'sign') return sign(Number(count));
  const mine = lastLine;
  return { count: await signOnAll(() => lastLine === mine) };
}

function print(value: object): void {
  process.stdout.write(`${JSON.stringify(value)}\n`);
}

if (spec.cgroup !== undefined) writeFileSync(`${spec.cgroup}/cgroup.procs`, String(process.pid));
if (spec.identity !== undefined) {
  process.setgroups?.(spec.identity.groups);
  process.setgid?.(spec.identity.gid);
  process.setuid?.(spec.identity.uid);
}
const callers = await Promise.all(
  Array.from({ length: spec.connections }, () => connectCaller(spec.socket, { name: 'load' })),
);
print({ ready: process.pid });
for await (const line of createInterface({ input: process.stdin })) {
  lastLine++;
  if (line !== '') void obey(line).then(print);
}
for (const caller of callers) caller.close();
