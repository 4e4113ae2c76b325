/**
 * Runs an operation in a session and recovers from its failure as ckr.ts says: a session that saw an error is
 * discarded, stale sessions and handles are renewed, the operation is repeated once at most.
 */
import type { Handle } from 'pkcs11js';
import type { AgentError } from '@keyagent/protocol';
import { TokenFailure, translate, type Recovery } from './ckr.js';
import type { Key } from './key.js';
import type { Session } from './session-pool.js';
import type { Token } from './token.js';

const doubtsMax = 3;

export interface RunnerCallbacks {
  succeeded(): void;
  /** The token left (absent), or its login did (locked). */
  lost(what: 'absent' | 'locked'): void;
  /** This process can serve no longer. */
  end(reason: string): void;
  /** Finds the key's object anew and proves it. */
  renewHandle(key: Key): Promise<void>;
}

export class OperationRunner {
  readonly #token: Token;
  readonly #callbacks: RunnerCallbacks;
  #doubts = 0;

  constructor(token: Token, callbacks: RunnerCallbacks) {
    this.#token = token;
    this.#callbacks = callbacks;
  }

  /** Once, in a session of its own. @throws AgentError */
  async once<T>(work: (session: Session) => Promise<T> | T): Promise<T> {
    const session = this.#takeSession() ?? (await this.#nextSession());
    try {
      const result = await work(session);
      this.#token.sessions.return(session);
      this.#doubts = 0;
      this.#callbacks.succeeded();
      return result;
    } catch (error) {
      this.#token.sessions.discard(session);
      throw this.#note(translate(error), session);
    }
  }

  /** Once, where failing is an answer: undefined. What concerns the whole token is an error all the same. */
  async tentatively<T>(work: (session: Session) => Promise<T>): Promise<T | undefined> {
    return this.once(async (session) => {
      try {
        return await work(session);
      } catch (error) {
        const failure = translate(error);
        if (!(failure instanceof TokenFailure) || !isAnswer(failure.recovery)) throw failure;
        session.suspect = true;
        return undefined;
      }
    });
  }

  /** With a key, repeated once where that can help and costs no second login. @throws AgentError */
  async withKey<T>(key: Key, work: (session: Session, handle: Handle) => Promise<T>): Promise<T> {
    const { handle } = key;
    try {
      return await this.once((session) => work(session, handle));
    } catch (error) {
      if (!(error instanceof TokenFailure) || !isRepeatable(error.recovery)) throw error;
      // Another request that failed beside this one may have renewed it already.
      if (key.handle === handle) await this.#callbacks.renewHandle(key);
      if (key.object.alwaysAuthenticate) throw error;
    }
    return this.once((session) => work(session, key.handle));
  }

  /** undefined: all are in use. */
  #takeSession(): Session | undefined {
    try {
      return this.#token.sessions.takeFree();
    } catch (error) {
      throw this.#note(translate(error));
    }
  }

  async #nextSession(): Promise<Session> {
    try {
      return await this.#token.sessions.take();
    } catch (error) {
      throw this.#note(translate(error));
    }
  }

  #note(failure: AgentError, session?: Session): AgentError {
    if (!(failure instanceof TokenFailure)) return failure;
    const { recovery, ckr } = failure;
    const { sessions } = this.#token;
    // Sessions of an older generation are renewed already.
    if (recovery === 'reopen' && session?.generation === sessions.generation) sessions.renew();
    if (recovery === 'absent' || recovery === 'locked') this.#callbacks.lost(recovery);
    this.#doubts = recovery === 'doubt' ? this.#doubts + 1 : this.#doubts;
    if (recovery === 'restart' || this.#doubts >= doubtsMax) {
      this.#callbacks.end(`the module returned ${ckr}`);
    }
    return failure;
  }
}

function isAnswer(recovery: Recovery): boolean {
  return recovery === 'none' || recovery === 'doubt';
}

function isRepeatable(recovery: Recovery): boolean {
  return recovery === 'reopen' || recovery === 'find';
}
