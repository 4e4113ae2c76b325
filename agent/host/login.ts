/**
 * C_Login and C_Logout. The PIN comes over its own descriptor and is read by the addon: it is never a JavaScript
 * value. Exactly one PIN is taken from the descriptor for each login that announces one, also when it fails early.
 */
import { AgentError } from '@keyagent/protocol';
import { native } from '../native/index.js';
import { ckrOk, ckrUserAlreadyLoggedIn, tokenFailure, translate } from './ckr.js';
import type { HostParams, HostResult } from './host-protocol.js';
import type { Session } from './session-pool.js';
import type { Token } from './token.js';

/** HostOperations: descriptor 4. */
const pinFd = 4;
const noPin = -1;

export class Login {
  readonly #token: Token;
  /** One at a time: the PINs on the descriptor have the order of the requests. */
  #last: Promise<unknown> = Promise.resolve();

  constructor(token: Token) {
    this.#token = token;
  }

  /** @throws AgentError PIN_INCORRECT, PIN_BLOCKED, TOKEN_ABSENT, TOKEN_ERROR */
  login({ pin }: HostParams<'login'>): Promise<HostResult<'login'>> {
    const turn = this.#last.then(() => this.#loginNow(pin));
    this.#last = turn.catch(() => undefined);
    return turn;
  }

  /** Waits for operations that run; whoever comes meanwhile is refused. */
  async logout(): Promise<void> {
    const { sessions, library } = this.#token;
    await sessions.drain(new AgentError('LOCKED', 'the token is being locked; run "keyagent unlock"'));
    sessions.reopen();
    try {
      const session = await sessions.take();
      sessions.return(session);
      if (this.#token.isLoggedIn(session.handle)) library.C_Logout(session.handle);
    } catch (error) {
      throw translate(error);
    } finally {
      // The last session takes the login with it, whatever C_Logout said.
      sessions.drop();
    }
  }

  async #loginNow(pin: boolean): Promise<HostResult<'login'>> {
    const session = await this.#openSession(pin);
    const rv = await this.#call(session, pin);
    if (rv === ckrOk || rv === ckrUserAlreadyLoggedIn) {
      this.#token.sessions.return(session);
      return { already: rv === ckrUserAlreadyLoggedIn };
    }
    this.#token.sessions.discard(session);
    throw tokenFailure(rv);
  }

  /** The token is asked who it is before it sees a PIN. */
  async #openSession(pin: boolean): Promise<Session> {
    try {
      this.#token.refresh();
      return await this.#token.sessions.take();
    } catch (error) {
      if (pin) native.discardSecret(pinFd);
      throw translate(error);
    }
  }

  async #call(session: Session, pin: boolean): Promise<number> {
    try {
      return await native.login(this.#token.modulePath, session.handle, pin ? pinFd : noPin);
    } catch (cause) {
      this.#token.sessions.discard(session);
      throw new AgentError('INTERNAL', 'the PIN did not reach the token host', { cause });
    }
  }
}
