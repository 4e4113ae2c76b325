/**
 * A bare relay: two Node processes of which one passes every request on as it comes, and the other signs it. No rule, no
 * queue, no audit log, no deadline, no check of a signature: what one client waits for is what the way itself costs.
 */
import path from 'node:path';
import { fileURLToPath } from 'node:url';
import type { Cleanup } from '../../support/cleanup.js';
import { Daemon } from '../../support/daemon.js';
import { softHsmModule } from '../../support/paths.js';
import { waitFor } from '../../support/wait.js';
import type { BenchKey, Field } from '../field.js';
import type { SignerSpec } from '../signer.js';

export interface RelayTask {
  /** Where it listens. */
  socket: string;
  /** Whom it asks once what is said of the key. */
  agent: string;
  uri: string;
  token: TokenTask;
}

export interface TokenTask {
  module: string;
  label: string;
  key: string;
  pinFile: string;
}

export async function startFloor(cleanup: Cleanup, field: Field, key: BenchKey): Promise<SignerSpec> {
  const { keyagent } = field.ways(key);
  const socket = path.join(field.folder, `floor-${key}.sock`);
  const task: RelayTask = {
    socket,
    agent: field.agent.socket,
    uri: keyagent.uri ?? '',
    token: { module: softHsmModule, label: field.token.label, key, pinFile: field.pinFile },
  };
  const relay = new Daemon(cleanup, {
    command: process.execPath,
    args: [fileURLToPath(new URL('./relay.js', import.meta.url)), JSON.stringify(task)],
    env: field.hsm.env,
    logFile: path.join(field.folder, `floor-${key}.log`),
  });
  await waitFor('the floor listens', () => {
    relay.mustRun();
    return relay.log.includes('listening');
  });
  return { ...keyagent, socket };
}
