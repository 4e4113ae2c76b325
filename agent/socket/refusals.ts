/** Connections that the agent does not take: each is told why, by an error about the connection, and ended. */
import type { Socket } from 'node:net';
import { encodeReply, toWireError, type AgentError } from '@keyagent/protocol';

/** How long a requester may take to read why, milliseconds, and how many may be at that. */
const lingerMs = 1000;
const lingeringMax = 64;

export class Refusals {
  private readonly lingering = new Set<Socket>();

  refuse(socket: Socket, why: AgentError): void {
    // A requester that is gone already needs no reason.
    socket.on('error', () => undefined);
    socket.end(encodeReply('hello', { id: 0, error: toWireError(why) }));
    if (this.lingering.size >= lingeringMax) socket.destroySoon();
    else this.linger(socket);
  }

  end(): void {
    for (const socket of this.lingering) socket.destroy();
  }

  /** Takes what the requester is just writing: to one that cannot write, the end shows before the reason. */
  private linger(socket: Socket): void {
    const timer = setTimeout(() => socket.destroy(), lingerMs).unref();
    this.lingering.add(socket.resume());
    socket.once('close', () => {
      clearTimeout(timer);
      this.lingering.delete(socket);
    });
  }
}
