/** Child of node-clients.ts: signs for a while with @keyagent/client and sends what it measured. */
import { createPublicKey, verify } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { connect } from '@keyagent/client';
import type { SignerSpec } from './signer.js';

interface Task extends Required<Pick<SignerSpec, 'socket' | 'uri' | 'alg' | 'spki'>> {
  inFlight: number;
  /** Milliseconds. */
  ms: number;
}

const warmUpMs = 300;
const verifyEvery = 1000;

const task = JSON.parse(process.argv[2] ?? '') as Task;
const publicKey = createPublicKey(readFileSync(task.spki));
const client = await connect({ socket: task.socket });
const key = await client.key(task.uri);
const durations: number[] = [];
let verified = 0;
let all = 0;
const from = performance.now() + warmUpMs;
const until = from + task.ms;
await Promise.all(Array.from({ length: task.inFlight }, (_, number) => signUntilEnd(number)));
process.send?.(summary(), () => {
  process.exit(0);
});

async function signUntilEnd(number: number): Promise<void> {
  const message = Buffer.alloc(130, 'TLS 1.3, server CertificateVerify');
  for (let counter = 0; performance.now() < until; counter++) {
    message.writeUInt32LE(number, 98);
    message.writeUInt32LE(counter, 102);
    const start = performance.now();
    const signature = await key.sign(task.alg, message);
    const end = performance.now();
    if (start >= from && end <= until) durations.push(end - start);
    all++;
    if (counter % verifyEvery === 0) check(message, signature);
  }
}

function check(message: Buffer, signature: Uint8Array): void {
  const padding = task.alg === 'rsa-pss-sha256' ? { padding: 6, saltLength: 32 } : {};
  if (!verify('sha256', message, { key: publicKey, ...padding }, signature)) {
    throw new Error('a signature does not verify');
  }
  verified++;
}

function summary(): object {
  const sorted = durations.sort((a, b) => a - b);
  const at = (share: number): number => (sorted[Math.floor(share * (sorted.length - 1))] ?? NaN) * 1000;
  return {
    operations: sorted.length,
    seconds: task.ms / 1000,
    medianUs: at(0.5),
    p99Us: at(0.99),
    maxUs: at(1),
    cpuUs: process.cpuUsage().user / all,
    all,
    verified,
  };
}
