/** Asks the kernel who opened a connection. Fixed at connect: a child that dropped privileges must connect anew. */
import type { Socket } from 'node:net';
import { AgentError } from '@keyagent/protocol';
import { native } from '../native/index.js';
import type { Peer } from '../policy/peer.js';

/** The descriptor of a socket; Node has no public way to it. */
function descriptor(socket: Socket): number {
  const handle = (socket as Socket & { _handle?: { fd?: number } | null })._handle;
  if (handle?.fd === undefined || handle.fd < 0) throw new AgentError('UNAVAILABLE', 'the peer is gone');
  return handle.fd;
}

export function identify(socket: Socket): Peer {
  return native.peerCredentials(descriptor(socket));
}
