/**
 * A token host: one process for one PKCS#11 token, started by the agent with a socketpair on descriptor 3 and the
 * PIN's way on descriptor 4 (host-protocol.ts). Ends when the agent closes descriptor 3, or dies.
 */
import { Socket } from 'node:net';
import { AgentError } from '@keyagent/protocol';
import { native } from '../native/index.js';
import { Channel, type Operations } from './channel.js';
import { hostExit } from './host-protocol.js';
import { TokenModule } from './module.js';
import { TokenHost } from './token-host.js';

const channelFd = 3;

native.hardenProcess();
native.dieWithParent();
// The agent decides when its hosts end: a signal to the process group is the agent's alone.
for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) process.on(signal, () => undefined);
// Node's default opens the inspector, through which anybody on this machine could call the token.
process.on('SIGUSR1', () => undefined);

let host: TokenHost | undefined;

function opened(): TokenHost {
  if (host === undefined) throw new AgentError('INVALID', 'open comes first');
  return host;
}

const operations: Operations = {
  open: (params) => {
    if (host !== undefined) throw new AgentError('INVALID', 'a host opens one token, once');
    host = new TokenHost(params, {
      presence: (present) => channel.emit('presence', { present }),
      authenticated: () => {
        channel.emit('authenticated', {});
        return channel.flush();
      },
      end,
    });
    return host.opened;
  },
  tokens: ({ module, uri }) => ({ tokens: new TokenModule(module).list(uri) }),
  token: () => opened().token(),
  login: (params) => opened().login(params),
  logout: () => opened().logout(),
  keys: () => opened().keys(),
  sign: (params) => opened().sign(params),
  decrypt: (params) => opened().decrypt(params),
};

const stream = new Socket({ fd: channelFd, readable: true, writable: true });
const channel = new Channel(stream, operations);
stream.on('error', (error) => process.stderr.write(`token host: ${error.message}\n`));
stream.on('close', () => {
  if (host?.busy === false) host.finalize();
  leave(hostExit.closed);
});

/** The module can do no more. The reply that tells of it is still on its way: it goes first. */
function end(reason: string): void {
  process.stderr.write(`token host: ends, ${reason}\n`);
  setImmediate(() => void channel.flush().then(() => leave(hostExit.module)));
}

function leave(status: number): never {
  // exit(3) would wait for libuv's threads, and a call of the module may hang in one for ever.
  if (host?.busy === true) process.kill(process.pid, 'SIGKILL');
  process.exit(status);
}
