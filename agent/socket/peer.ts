/**
 * Asks the kernel who opened a connection. uid, gid and groups are fixed at connect: a child that dropped privileges
 * must connect anew. The program behind it may change or end while the connection lives on, so it is looked at again
 * for each decision that needs it.
 */
import type { Socket } from 'node:net';
import { AgentError } from '@keyagent/protocol';
import { native, type PeerCredentials } from '../native/index.js';
import type { Peer, Program } from '../policy/peer.js';
import { executableOf, processFacts, type ProcessFacts } from './process.js';
import { unitOf } from './unit.js';

/** The descriptor of a socket, undefined once it is closed; Node has no public way to it. */
function descriptor(socket: Socket): number | undefined {
  const handle = (socket as Socket & { _handle?: { fd?: number } | null })._handle;
  return handle?.fd === undefined || handle.fd < 0 ? undefined : handle.fd;
}

/**
 * @param overflowUid  the uid that stands for everybody whom this user namespace has no uid for
 * @param isAlive      as native.peerIsAlive: tells apart the kernels that know from those that do not
 */
export function identify(socket: Socket, overflowUid: number, isAlive: IsAlive = native.peerIsAlive): Peer {
  const fd = descriptor(socket);
  if (fd === undefined) throw new AgentError('UNAVAILABLE', 'the peer is gone');
  const alive = (): boolean | null => {
    const now = descriptor(socket);
    return now === undefined ? false : isAlive(now);
  };
  return new ConnectedPeer(native.peerCredentials(fd), alive, overflowUid);
}

type IsAlive = (fd: number) => boolean | null;

class ConnectedPeer implements Peer {
  readonly uid: number;
  readonly gid: number;
  readonly groups: readonly number[];
  readonly pid: number;
  readonly unmapped: boolean;
  readonly #alive: () => boolean | null;
  /** With the pid it names the process that was there at accept. */
  #startTime: string | undefined;
  /** The executable at accept. */
  #exeFile: string | undefined;
  /** Once a process cannot be trusted it never can be again. */
  #doubt: string | undefined;
  #last: Program;
  /** `last` is from the decision that is being made. */
  #isFresh = false;

  constructor(who: PeerCredentials, alive: () => boolean | null, overflowUid: number) {
    this.uid = who.uid;
    this.gid = who.gid;
    this.groups = who.groups;
    this.pid = who.pid;
    this.unmapped = who.uid === overflowUid;
    this.#alive = alive;
    this.#last = this.#look();
  }

  get exe(): string | undefined {
    return this.#last.shownExe;
  }

  get unit(): string | undefined {
    return this.#last.unit;
  }

  get sure(): true | string {
    return this.#last.doubt ?? true;
  }

  /** One look for all rules of one decision, which never waits for anything. */
  program(): Program {
    if (this.#isFresh) return this.#last;
    this.#last = this.#isUnchanged() ? this.#last : this.#look();
    this.#isFresh = true;
    queueMicrotask(() => {
      this.#isFresh = false;
    });
    return this.#last;
  }

  /** The short way to what the last look saw: only root moves a process to another unit. */
  #isUnchanged(): boolean {
    if (this.#last.doubt !== undefined) return this.#doubt !== undefined;
    const exeFile = executableOf(this.pid);
    // Asked after: it proves that this was the process that connected.
    return this.#alive() === true && exeFile === this.#exeFile;
  }

  #look(): Program {
    const facts = processFacts(this.pid);
    this.#doubt = this.#doubtAbout(facts);
    if (this.#doubt !== undefined) return doubtful(this.#doubt, facts?.shownExe);
    if (facts === undefined) return doubtful('this agent cannot see the process in /proc');
    const { exeFile } = facts;
    return {
      runs: (path) => exeFile !== undefined && exeFile === identityOf(path),
      unit: unitOf(facts.cgroup),
      shownExe: facts.shownExe,
      doubt: undefined,
    };
  }

  /** Asked after the facts were read: that it lives proves that they are its own. */
  #doubtAbout(facts: ProcessFacts | undefined): string | undefined {
    if (this.#alive() === false) return 'the process that connected has ended';
    if (facts === undefined) return undefined;
    const { startTime, exeFile } = facts;
    // All that there is on kernels that cannot say whether a peer is alive.
    if (startTime !== (this.#startTime ??= startTime))
      return 'another process has the pid of the one that connected';
    if (exeFile !== (this.#exeFile ??= exeFile)) return 'the process has executed another program since';
    return undefined;
  }
}

/** Of the file of a path in a rule; undefined when there is none, or none that this agent can see. */
function identityOf(path: string): string | undefined {
  try {
    return native.fileIdentity(path);
  } catch (error) {
    if (['ENOENT', 'ENOTDIR', 'EACCES'].includes((error as NodeJS.ErrnoException).code ?? ''))
      return undefined;
    throw error;
  }
}

function doubtful(doubt: string, shownExe?: string): Program {
  return { runs: () => false, unit: undefined, shownExe, doubt };
}
