/** The clients of bench-signer once more, of @keyagent/client: as many requests in flight as there are clients, one process. */
import { fork } from 'node:child_process';
import { once } from 'node:events';
import { fileURLToPath } from 'node:url';
import type { Load, Signed, SignerSpec } from './signer.js';

const program = fileURLToPath(new URL('./node-client.js', import.meta.url));

export class NodeClients {
  constructor(private readonly spec: SignerSpec) {}

  async run({ processes, threads, ms }: Load): Promise<Signed> {
    const { socket, uri, alg, spki } = this.spec;
    const child = fork(program, [
      JSON.stringify({ socket, uri, alg, spki, inFlight: processes * threads, ms }),
    ]);
    const [signed] = (await Promise.race([
      once(child, 'message'),
      once(child, 'exit').then(([code]) => {
        throw new Error(`the Node client ended with ${String(code)}`);
      }),
    ])) as [Signed];
    return signed;
  }
}
