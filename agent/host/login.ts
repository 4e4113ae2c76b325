/**
 * C_Login and C_Logout. The PIN comes over its own descriptor and is read by the addon: it is never a JavaScript
 * value. Exactly one PIN is taken from the descriptor for each login that announces one, also when it fails early.
 */
import pkcs11js from 'pkcs11js';
import { AgentError } from '@keyagent/protocol';
import { native } from '../native/index.js';
import { TokenFailure, tokenFailure, translate } from './ckr.js';
import type { HostParams, HostResult } from './host-protocol.js';
import type { OperationRunner } from './operation-runner.js';
import type { Token } from './token.js';

/** HostOperations: descriptor 4. */
const pinFd = 4;
const noPin = -1;

export class Login {
  readonly #token: Token;
  readonly #runner: OperationRunner;
  /** One at a time: the PINs on the descriptor have the order of the requests. */
  #last: Promise<unknown> = Promise.resolve();

  constructor(token: Token, runner: OperationRunner) {
    this.#token = token;
    this.#runner = runner;
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
    let pinWaits = pin;
    try {
      // Before the token sees a PIN it is asked who it is.
      this.#token.refresh();
      await this.#renewStaleSessions();
      const rv = await this.#runner.once(({ handle }) => {
        const call = native.login(this.#token.modulePath, handle, pin ? pinFd : noPin);
        pinWaits = false;
        return call.then(accept);
      });
      return { already: rv === pkcs11js.CKR_USER_ALREADY_LOGGED_IN };
    } finally {
      if (pinWaits) native.discardSecret(pinFd);
    }
  }

  /** A login in a session that the token has forgotten would use up the PIN for nothing. */
  async #renewStaleSessions(): Promise<void> {
    try {
      await this.#runner.once(({ handle }) => this.#token.isLoggedIn(handle));
    } catch (error) {
      if (!(error instanceof TokenFailure) || error.recovery !== 'reopen') throw error;
    }
  }
}

function accept(rv: number): number {
  if (rv !== pkcs11js.CKR_OK && rv !== pkcs11js.CKR_USER_ALREADY_LOGGED_IN) throw tokenFailure(rv);
  return rv;
}
