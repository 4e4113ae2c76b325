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
  /** Told at most once a second. */
  readonly onRefused: (why: string, about: { uid?: number; pid?: number; error?: unknown }) => void;
  /** Told once per defect of the agent itself. */
  readonly onDefect: (error: unknown) => void;
}

/** A connection that does not greet or does not read ends after this, milliseconds. */
const stallMs = 10_000;
/** Half of what a listener takes (listen.ts). */
const connectionsPerUid = 4096;
const tellEveryMs = 1000;

export class Connections implements Iterable<Connection> {
  private readonly open = new Set<Connection>();
  /** How many of them each uid has. */
  private readonly counts = new Map<number, number>();
  private readonly refusals = new Refusals();
  private refusedAt = -Infinity;

  constructor(private readonly settings: ConnectionsSettings) {}

  [Symbol.iterator](): Iterator<Connection> {
    return this.open.values();
  }

  /** Some request is unanswered. */
  get busy(): boolean {
    return [...this.open].some(({ inFlightCount }) => inFlightCount > 0);
  }

  accept(face: Face, socket: Socket): void {
    const { dispatch, agent, overflowUid, onDefect } = this.settings;
    let connection: Connection;
    try {
      const peer = identify(socket, overflowUid);
      if (!this.hasRoomFor(peer)) {
        this.tellRefused('this uid has too many', { uid: peer.uid, pid: peer.pid });
        this.refusals.refuse(socket, tooMany());
        return;
      }
      const settings = { face, dispatch: dispatch[face], agent, stallMs, onDefect };
      connection = new Connection(socket, peer, settings);
    } catch (error) {
      // A peer that cannot be identified has no rights; most often it is gone already.
      this.tellRefused('peer unknown', { error });
      socket.destroy();
      return;
    }
    const { uid } = connection.peer;
    this.open.add(connection);
    this.counts.set(uid, this.countOf(uid) + 1);
    socket.once('close', () => {
      this.open.delete(connection);
      if (this.countOf(uid) > 1) this.counts.set(uid, this.countOf(uid) - 1);
      else this.counts.delete(uid);
    });
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
    return uid === 0 || this.countOf(uid) < connectionsPerUid;
  }

  private countOf(uid: number): number {
    return this.counts.get(uid) ?? 0;
  }

  /** Not each of a flood, which would drive everything else out of the log. */
  private tellRefused(...about: Parameters<ConnectionsSettings['onRefused']>): void {
    const now = performance.now();
    if (now - this.refusedAt < tellEveryMs) return;
    this.refusedAt = now;
    this.settings.onRefused(...about);
  }
}

function tooMany(): AgentError {
  return new AgentError(
    'BUSY',
    `this user has ${connectionsPerUid} connections open, and that is as many as one may; close some and try again`,
  );
}
