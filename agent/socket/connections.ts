/** All connections of the agent: lets peers in that can be identified, within bounds, and tells them news. */
import type { Socket } from 'node:net';
import { AgentError, type Notice } from '@keyagent/protocol';
import type { Peer } from '../policy/peer.js';
import { Connection, type Dispatch, type Face } from './connection.js';
import { identify } from './peer.js';
import { Refusals } from './refusals.js';

export interface ConnectionsSettings {
  /** Answers the requests of each socket. */
  readonly dispatch: Readonly<Record<Face, Dispatch>>;
  /** Sent in the reply to hello. */
  readonly agent: string;
  readonly overflowUid: number;
  readonly onRefused: (why: string, about: { uid?: number; pid?: number; error?: unknown }) => void;
  /** Told once per defect of the agent itself. */
  readonly onDefect: (error: unknown) => void;
}

/** A connection that does not greet or does not read ends after this, milliseconds. */
const stallMs = 10_000;
/** Half of what a listener takes (listen.ts). */
const connectionsPerUid = 4096;

export class Connections implements Iterable<Connection> {
  private readonly open = new Set<Connection>();
  private readonly refusals = new Refusals();

  constructor(private readonly settings: ConnectionsSettings) {}

  [Symbol.iterator](): Iterator<Connection> {
    return this.open.values();
  }

  /** Some request is unanswered. */
  get busy(): boolean {
    return [...this.open].some(({ inFlightCount }) => inFlightCount > 0);
  }

  accept(face: Face, socket: Socket): void {
    const { dispatch, agent, overflowUid, onRefused, onDefect } = this.settings;
    let connection: Connection;
    try {
      const peer = identify(socket, overflowUid);
      if (!this.hasRoomFor(peer)) {
        onRefused('this uid has too many', { uid: peer.uid, pid: peer.pid });
        this.refusals.refuse(socket, tooMany());
        return;
      }
      const settings = { face, dispatch: dispatch[face], agent, stallMs, onDefect };
      connection = new Connection(socket, peer, settings);
    } catch (error) {
      // A peer that cannot be identified has no rights; most often it is gone already.
      onRefused('peer unknown', { error });
      socket.destroy();
      return;
    }
    this.open.add(connection);
    socket.once('close', () => this.open.delete(connection));
  }

  /** Tells those who asked to be told, and whom it concerns. */
  tell(notice: Notice, concerns: (peer: Peer) => boolean = () => true): void {
    for (const connection of this.open) if (concerns(connection.peer)) connection.tell(notice);
  }

  end(): void {
    for (const connection of this.open) connection.end();
    this.refusals.end();
  }

  /** One uid cannot take the places of all the others; root takes none of theirs. */
  private hasRoomFor({ uid }: Peer): boolean {
    if (uid === 0) return true;
    let count = 0;
    for (const { peer } of this.open) if (peer.uid === uid) count++;
    return count < connectionsPerUid;
  }
}

function tooMany(): AgentError {
  return new AgentError(
    'BUSY',
    `this user has ${connectionsPerUid} connections open, and that is as many as one may; close some and try again`,
  );
}
