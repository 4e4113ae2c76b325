/**
 * The one token of this host: where it is now, its sessions, what it can do. A slot may hold another token after
 * a change of cards: the serial number and label of the first one are asked for again before they are trusted.
 */
import pkcs11js, { type Handle, type PKCS11 } from 'pkcs11js';
import { AgentError } from '@keyagent/protocol';
import type { LoadedModule } from '../native/index.js';
import { tokenFailure, translate } from './ckr.js';
import type { HostParams, TokenInfo } from './host-protocol.js';
import { TokenMechanisms } from './mechanisms.js';
import { TokenModule, type LocatedToken } from './module.js';
import { SessionPool } from './session-pool.js';

/** CKS_RO_USER_FUNCTIONS and CKS_RW_USER_FUNCTIONS. */
const userStates: readonly number[] = [1, 3];

export class Token {
  readonly sessions: SessionPool;
  readonly mechanisms: TokenMechanisms;
  /** What else the module showed when this one was found. */
  readonly beside: readonly TokenInfo[];
  readonly #module: TokenModule;
  readonly #uri: string;
  #located: LocatedToken;

  /** @throws AgentError CONFIGURATION, TOKEN_ABSENT, AMBIGUOUS, TOKEN_ERROR */
  constructor({ module, uri, sessions }: HostParams<'open'>) {
    this.#module = new TokenModule(module);
    this.#uri = uri;
    const { beside, ...located } = this.#module.locate(uri);
    this.#located = located;
    this.beside = beside;
    this.sessions = new SessionPool(
      {
        open: () => this.library.C_OpenSession(this.#located.slot, pkcs11js.CKF_SERIAL_SESSION),
        close: (handle) => this.library.C_CloseSession(handle),
      },
      sessions,
    );
    try {
      this.mechanisms = TokenMechanisms.read(this.library, this.#located.slot);
    } catch (error) {
      throw translate(error);
    }
  }

  get library(): PKCS11 {
    return this.#module.library;
  }

  /** As it was when it was last asked. */
  get info(): TokenInfo {
    return this.#located.info;
  }

  get loaded(): LoadedModule {
    return this.#module.loaded;
  }

  /** Asks the token itself. @throws AgentError TOKEN_ABSENT, also when another token took its place */
  refresh(): TokenInfo {
    try {
      const { slot } = this.#located;
      const info = this.#module.describe(slot);
      if (this.#isSame(info)) {
        this.#located = { slot, info };
        return info;
      }
    } catch (error) {
      if (!(error instanceof AgentError) || error.code !== 'TOKEN_ABSENT') throw error;
    }
    const located = this.#module.locate(this.#uri);
    if (!this.#isSame(located.info)) {
      const { label, serial } = located.info;
      throw new AgentError('TOKEN_ABSENT', `another token is in its place: ${label}, serial ${serial}`);
    }
    this.#located = located;
    this.sessions.drop();
    return located.info;
  }

  /** By the token's own account of the session, not by what was done before. */
  isLoggedIn(session: Handle): boolean {
    return userStates.includes(this.library.C_GetSessionInfo(session).state);
  }

  /** @throws TokenFailure LOCKED */
  requireLogin(session: Handle): void {
    if (!this.isLoggedIn(session)) throw tokenFailure(pkcs11js.CKR_USER_NOT_LOGGED_IN);
  }

  finalize(): void {
    try {
      this.library.C_Finalize();
    } catch {
      // The process ends in any case, and its sessions with it.
    }
  }

  #isSame({ serial, label }: TokenInfo): boolean {
    return serial === this.#located.info.serial && label === this.#located.info.label;
  }
}
