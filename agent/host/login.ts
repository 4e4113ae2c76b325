/**
 * C_Login and C_Logout. The PIN comes over its own descriptor into the addon's locked memory. One is taken for each
 * request that announces one, when the request arrives: so the PINs keep the order of the requests.
 */
import pkcs11js, { type Handle } from 'pkcs11js';
import { AgentError } from '@keyagent/protocol';
import { native } from '../native/index.js';
import { TokenFailure, tokenFailure, translate } from './ckr.js';
import type { HostParams, HostResult } from './host-protocol.js';
import type { OperationRunner } from './operation-runner.js';
import type { Token } from './token.js';

/** HostOperations: descriptor 4. */
const pinFd = 4;
const cku = { user: 1, contextSpecific: 2 } as const;

/** Between C_SignInit or C_DecryptInit and the operation, in its session: what CKA_ALWAYS_AUTHENTICATE asks for. */
export type Authenticate = (session: Handle) => Promise<void>;

export class Login {
  readonly #token: Token;
  readonly #runner: OperationRunner;
  readonly #authenticated: () => Promise<void>;
  /** One at a time: a token that refused one PIN is not given the next one before that is known. */
  #last: Promise<unknown> = Promise.resolve();

  /** @param authenticated told when the token took a PIN for one use */
  constructor(token: Token, runner: OperationRunner, authenticated: () => Promise<void>) {
    this.#token = token;
    this.#runner = runner;
    this.#authenticated = authenticated;
  }

  /** @throws AgentError PIN_INCORRECT, PIN_BLOCKED, TOKEN_ABSENT, TOKEN_ERROR */
  login({ pin }: HostParams<'login'>): Promise<HostResult<'login'>> {
    const secret = takePin(pin);
    const turn = this.#last.then(() => this.#loginNow(secret)).finally(() => wipePin(secret));
    this.#last = turn.catch(() => undefined);
    return turn;
  }

  /** With the PIN that a sign or decrypt announced, for one C_Login; undefined: with none. */
  withPin<T>(
    announced: boolean | undefined,
    use: (authenticate: Authenticate | undefined) => Promise<T>,
  ): Promise<T> {
    const pin = takePin(announced === true);
    return pin === null ? use(undefined) : this.#withTaken(pin, use);
  }

  async #withTaken<T>(pin: Buffer, use: (authenticate: Authenticate) => Promise<T>): Promise<T> {
    try {
      return await use(async (session) => {
        const rv = await native.login(this.#token.loaded, session, cku.contextSpecific, pin);
        if (rv !== pkcs11js.CKR_OK) throw Object.assign(tokenFailure(rv), { atLogin: true });
        await this.#authenticated();
      });
    } finally {
      wipePin(pin);
    }
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

  async #loginNow(pin: Buffer | null): Promise<HostResult<'login'>> {
    // Before the token sees a PIN it is asked who it is.
    this.#token.refresh();
    await this.#renewStaleSessions();
    const rv = await this.#runner.once(({ handle }) =>
      native.login(this.#token.loaded, handle, cku.user, pin).then(accept),
    );
    return { already: rv === pkcs11js.CKR_USER_ALREADY_LOGGED_IN };
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

/** null: none was announced. */
function takePin(announced: boolean): Buffer | null {
  return announced ? native.readSecret(pinFd) : null;
}

function wipePin(pin: Buffer | null): void {
  if (pin !== null) native.wipeSecret(pin);
}

function accept(rv: number): number {
  if (rv !== pkcs11js.CKR_OK && rv !== pkcs11js.CKR_USER_ALREADY_LOGGED_IN) throw tokenFailure(rv);
  return rv;
}
