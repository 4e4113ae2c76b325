/** systemd's side of the sockets: descriptors handed over (sd_listen_fds(3)) and readiness (sd_notify(3)). */
import { AgentError } from '@keyagent/protocol';
import { native } from '../native/index.js';

export interface InheritedSockets {
  readonly client: readonly number[];
  readonly control: readonly number[];
}

const firstDescriptor = 3;

/** Reads and removes LISTEN_*; undefined when systemd handed nothing to this process. */
export function takeInheritedSockets(env: NodeJS.ProcessEnv): InheritedSockets | undefined {
  const { LISTEN_PID: pid, LISTEN_FDS: count, LISTEN_FDNAMES: names } = env;
  delete env['LISTEN_PID'];
  delete env['LISTEN_FDS'];
  delete env['LISTEN_FDNAMES'];
  if (count === undefined || pid !== String(process.pid)) return undefined;
  const found = { client: [] as number[], control: [] as number[] };
  const list = (names ?? '').split(':');
  for (let i = 0; i < Number(count); i++) {
    const name = list[i] ?? '';
    if (name !== 'client' && name !== 'control') {
      throw new AgentError(
        'CONFIGURATION',
        `systemd passed a socket named "${name}"; set FileDescriptorName=client or FileDescriptorName=control`,
      );
    }
    found[name].push(firstDescriptor + i);
  }
  return found;
}

/** Sends a state such as READY=1 when systemd waits for it. */
export function notifySystemd(state: string): void {
  const socket = process.env['NOTIFY_SOCKET'];
  if (socket !== undefined && socket !== '') native.notify(socket, state);
}
