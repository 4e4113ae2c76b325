/** An agent, as a Node program sees it. */
import { EventEmitter } from 'node:events';
import {
  AgentError,
  parsePkcs11Uri,
  refuseSelectorQuery,
  type CallOptions,
  type KeyAlgorithm,
  type KeyState,
  type Notice,
  type TokenState,
} from '@keyagent/protocol';
import { Connection } from './connection.js';
import { Key } from './key.js';
import { socketPath } from './socket-path.js';

export interface ConnectOptions {
  /** Absolute path; else KEYAGENT_SOCK, /run/keyagent/agent.sock, $XDG_RUNTIME_DIR/keyagent/agent.sock. */
  socket?: string;
  /** For connecting, and for each call unless it says otherwise; 10 seconds if absent. */
  timeoutMs?: number;
  /** The program's name, for the agent's list of sessions. */
  name?: string;
  /** Gives up connecting; it does not concern the client that was made. */
  signal?: AbortSignal;
  /** Users whose socket is trusted besides root's, this user's, and the agent's in a directory of its own. */
  trustedUids?: readonly number[];
}

/** A key in the agent's list. */
export interface KeyEntry {
  readonly uri: string;
  readonly algorithm: KeyAlgorithm;
  readonly bits: number;
  readonly state: KeyState;
}

export interface AgentStatus {
  /** Name and version. */
  readonly agent: string;
  readonly pid: number;
  /** Seconds since it started. */
  readonly uptime: number;
  /** An operator locked or stopped, so nothing unlocks by itself. */
  readonly revoked: boolean;
  readonly tokens: readonly { readonly name: string; readonly state: TokenState }[];
}

interface ClientEvents {
  /** The state of a token, when it changed and after the connection was made again: its name and state. */
  state: [token: string, state: TokenState];
  /** A token is locked now: its keys sign nothing until somebody unlocks it. Every other state is told by `state` only. */
  locked: [token: string];
  /** A token is unlocked now. */
  unlocked: [token: string];
  /** The public data of a key changed: its URI. Ask for the key again. */
  rotated: [uri: string];
  /** The connection was lost and is being made again; what was in flight is repeated once. */
  disconnected: [reason: AgentError];
}

/**
 * @throws AgentError UNAVAILABLE, UNTRUSTED, DENIED, TIMEOUT, CANCELLED, INVALID (the path), UNSUPPORTED (no common
 *         version)
 */
export async function connect(options: ConnectOptions = {}): Promise<Client> {
  const { socket, timeoutMs = 10_000, name = process.title.slice(0, 16), trustedUids = [], signal } = options;
  const connection = new Connection({ path: socketPath(socket), name, timeoutMs, trustedUids });
  await connection.open(signal);
  return new Client(connection);
}

export class Client extends EventEmitter<ClientEvents> {
  readonly #connection: Connection;

  /** Made by connect(). */
  constructor(connection: Connection) {
    super();
    this.#connection = connection;
    connection.on('notice', (notice) => this.#tell(notice));
    connection.on('lost', (reason) => this.emit('disconnected', reason));
    connection.on('restored', () => void this.#tellStates());
  }

  /** Every key that this user may know of, in the order of their URIs. The deadline is for each page. */
  async keys(options: CallOptions = {}): Promise<KeyEntry[]> {
    const keys: KeyEntry[] = [];
    for (let after: string | undefined; ; after = keys.at(-1)?.uri) {
      const page = await this.#connection.call('keys', after === undefined ? {} : { after }, options);
      const [first] = page.keys;
      const isBehind = first !== undefined && (after === undefined || first.uri > after);
      if (page.more && !isBehind) throw new AgentError('MALFORMED', 'the agent repeats a page of its keys');
      keys.push(...page.keys);
      if (!page.more) return keys;
    }
  }

  /**
   * @param uri RFC 7512, or "keyagent:NAME"; exactly one key must match
   * @throws AgentError INVALID, NOT_FOUND, AMBIGUOUS (with candidates), DENIED, LOCKED (unknown until the token is
   *         unlocked once), KEY_MISMATCH
   */
  async key(uri: string, options: CallOptions = {}): Promise<Key> {
    // A PIN in a URI must not even reach the agent.
    refuseSelectorQuery(parsePkcs11Uri(uri));
    return new Key(this.#connection, await this.#connection.call('key', { uri }, options));
  }

  async status(options: CallOptions = {}): Promise<AgentStatus> {
    return this.#connection.call('status', {}, options);
  }

  /** Calls in flight fail with UNAVAILABLE. A program ends by itself only after this, or after unref(). */
  close(): void {
    this.#connection.close();
  }

  /** Lets the program end although this client is open; calls in flight are still waited for. */
  unref(): this {
    this.#connection.hold(false);
    return this;
  }

  /** Undoes unref(). */
  ref(): this {
    this.#connection.hold(true);
    return this;
  }

  #tell(notice: Notice): void {
    switch (notice.method) {
      case 'state':
        this.#tellState(notice.params.token, notice.params.state);
        return;
      case 'rotated':
        this.emit('rotated', notice.params.uri);
        return;
      case 'cancel':
        // Only a requester sends it; the codec lets none through.
        return;
    }
  }
  #tellState(token: string, state: TokenState): void {
    this.emit('state', token, state);
    if (state === 'locked' || state === 'unlocked') this.emit(state, token);
  }

  /** What changed while there was no connection was told to nobody. */
  async #tellStates(): Promise<void> {
    const listening = (['state', 'locked', 'unlocked'] as const).some(
      (event) => this.listenerCount(event) > 0,
    );
    if (!listening) return;
    const status = await this.status().catch((error: unknown) => {
      // Nobody asked: a connection that was lost again is restored again, and calls say what else is wrong.
      if (error instanceof AgentError) return undefined;
      throw error;
    });
    for (const { name, state } of status?.tokens ?? []) this.#tellState(name, state);
  }
}
