/**
 * A client of its own in a process of its own, for a test that needs another identity: joins a cgroup, drops to a user,
 * connects, then makes the requests that arrive on standard input, one JSON document a line, and prints each outcome.
 */
import { writeFileSync } from 'node:fs';
import { createConnection, Socket } from 'node:net';
import { createInterface } from 'node:readline';
import { AgentError, Caller, connectCaller, type Params } from '@keyagent/protocol';
import type { AskerSpec, Question } from './asker.js';

const spec = JSON.parse(process.argv[2] ?? '') as AskerSpec;

function become({ cgroup, identity }: AskerSpec): void {
  if (cgroup !== undefined) writeFileSync(`${cgroup}/cgroup.procs`, String(process.pid));
  if (identity === undefined) return;
  process.setgroups?.(identity.groups);
  process.setgid?.(identity.gid);
  process.setuid?.(identity.uid);
}

async function connect({ socket, inherited, careless }: AskerSpec): Promise<Caller> {
  if (inherited === undefined && careless !== true) return connectCaller(socket, { name: 'asker' });
  // Whoever opened an inherited connection is gone, or was another program in this process.
  const stream = inherited === undefined ? createConnection(socket) : new Socket({ fd: inherited.fd });
  const caller = new Caller(stream);
  if (inherited?.greeted !== true) await caller.hello({}, { timeoutMs: 10_000 });
  return caller;
}

async function outcomeOf(caller: Caller, { method, uri, alg, bytes, digest }: Question): Promise<object> {
  const content = Buffer.from(bytes, 'base64');
  try {
    if (method === 'sign') {
      const params: Params<'sign'> = {
        uri,
        alg,
        ...(digest === true ? { digest: content } : { message: content }),
      };
      await caller.call('sign', params, { timeoutMs: 10_000 });
    } else {
      const versions = { client_version: 0x0303, negotiated_version: 0x0303 };
      const tls = alg === 'rsa-pkcs1-tls' ? versions : {};
      await caller.call('decrypt', { uri, alg, ciphertext: content, ...tls }, { timeoutMs: 10_000 });
    }
    return { code: 'ok' };
  } catch (error) {
    if (!(error instanceof AgentError)) throw error;
    return { code: error.code, message: error.message, retryAfterMs: error.retryAfterMs };
  }
}

function print(value: object): void {
  process.stdout.write(`${JSON.stringify(value)}\n`);
}

become(spec);
const caller = await connect(spec);
print({ ready: process.pid });
for await (const line of createInterface({ input: process.stdin })) {
  print(await outcomeOf(caller, JSON.parse(line) as Question));
}
caller.close();
