/** What every command has: the global options, the streams, and connections to the agent. */
import { AgentError, connectCaller, type Caller, type Face } from '@keyagent/protocol';
import type { Surroundings } from '../config/locations.js';
import { writeOutput } from './files.js';
import { socketPaths, type SocketOptions, type SocketPaths } from './sockets.js';
import type { Streams } from './streams.js';

export interface GlobalOptions extends SocketOptions {
  json?: boolean;
}

/** A login on a slow HSM or a PIN pad takes long; everything else is quick. */
export const unlockTimeoutMs = 180_000;
export const requestTimeoutMs = 30_000;

export class Session {
  constructor(
    readonly streams: Streams,
    readonly around: Surroundings,
    /** Read when a command runs, after parsing. */
    readonly options: () => GlobalOptions,
  ) {}

  get sockets(): SocketPaths {
    return socketPaths(this.options(), this.around);
  }

  /** Runs `work` on a connection to the client socket, and closes it. */
  client<T>(work: (agent: Caller) => Promise<T>): Promise<T> {
    return this.#connected(this.sockets.client, work);
  }

  /** The same on the control socket. `notify`: the agent is to tell of changes of state. */
  control<T>(work: (agent: Caller) => Promise<T>, { notify = false } = {}): Promise<T> {
    return this.#connected(this.sockets.control, work, notify);
  }

  /** The control socket where this user may use it: it tells more. Otherwise the client socket. */
  async controlOrClient<T>(work: (agent: Caller, face: Face) => Promise<T>): Promise<T> {
    try {
      return await this.control((agent) => work(agent, 'control'));
    } catch (error) {
      const refused =
        error instanceof AgentError && (error.code === 'DENIED' || error.code === 'UNAVAILABLE');
      if (!refused) throw error;
      return this.client((agent) => work(agent, 'client'));
    }
  }

  /** One JSON document with --json, otherwise the text. */
  async print(document: object, text: string): Promise<void> {
    const content = this.options().json === true ? `${JSON.stringify(document)}\n` : text;
    await writeOutput('-', Buffer.from(content), this.streams);
  }

  warn(text: string): void {
    this.streams.stderr.write(`keyagent: ${text}\n`);
  }

  /** connectCaller refuses a socket that somebody else may have put there: it would get the PIN. */
  async #connected<T>(path: string, work: (agent: Caller) => Promise<T>, notify = false): Promise<T> {
    const agent = await connectCaller(path, { name: 'keyagent', notify });
    try {
      return await work(agent);
    } finally {
      agent.close();
    }
  }
}
