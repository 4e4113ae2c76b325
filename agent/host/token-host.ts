/**
 * The operations of a token host, one method each, as HostOperations names them. Owns the token, its keys and its
 * login. Knows nothing of frames.
 */
import { AgentError, type Mechanism } from '@keyagent/protocol';
import { decryptWithKey } from './decrypt-request.js';
import type { HostParams, HostResult } from './host-protocol.js';
import { KeyList } from './key-list.js';
import type { Key } from './key.js';
import { Login } from './login.js';
import { OperationRunner } from './operation-runner.js';
import { Presence } from './presence.js';
import { planSignature } from './sign-plan.js';
import { signInSession } from './sign.js';
import { Token } from './token.js';

export interface TokenHostCallbacks {
  presence(present: boolean): void;
  /** The token took the PIN that came with a sign or decrypt. Resolves when the agent can know it, whatever comes then. */
  authenticated(): Promise<void>;
  /** No operation of this process can succeed any more. */
  end(reason: string): void;
}

export class TokenHost {
  readonly #token: Token;
  readonly #runner: OperationRunner;
  readonly #keyList: KeyList;
  readonly #login: Login;
  readonly #presence: Presence;
  #loggedIn = false;

  /** @throws AgentError CONFIGURATION, TOKEN_ABSENT, AMBIGUOUS, TOKEN_ERROR */
  constructor(params: HostParams<'open'>, callbacks: TokenHostCallbacks) {
    this.#token = new Token(params);
    this.#presence = new Presence({
      check: () => this.#token.refresh(),
      changed: (present) => {
        if (!present) this.#forgetLogin();
        callbacks.presence(present);
      },
    });
    this.#runner = new OperationRunner(this.#token, {
      succeeded: () => this.#presence.seen(),
      lost: (what) => (what === 'absent' ? this.#presence.lost() : this.#forgetLogin()),
      end: (reason) => callbacks.end(reason),
      renewHandle: (key) => this.#keyList.renewHandle(key),
    });
    this.#login = new Login(this.#token, this.#runner, () => callbacks.authenticated());
    this.#keyList = new KeyList(this.#token, this.#runner);
    this.#presence.start();
  }

  get opened(): HostResult<'open'> {
    return { token: this.#token.info, beside: [...this.#token.beside] };
  }

  token(): HostResult<'token'> {
    const token = this.#token.refresh();
    this.#presence.seen();
    return { token };
  }

  async login(params: HostParams<'login'>): Promise<HostResult<'login'>> {
    const result = await this.#login.login(params);
    this.#keyList.forgetProofs();
    this.#loggedIn = true;
    return result;
  }

  async logout(): Promise<HostResult<'logout'>> {
    this.#loggedIn = false;
    await this.#login.logout();
    return {};
  }

  async keys(): Promise<HostResult<'keys'>> {
    const result = await this.#keyList.renew();
    this.#loggedIn = result.loggedIn;
    return result;
  }

  async sign(params: HostParams<'sign'>): Promise<HostResult<'sign'>> {
    const signature = await this.#login.withPin(params.pin, (authenticate) => {
      const key = this.#usableKey(params);
      const plan = planSignature(key.publicKey, this.#token.mechanisms, params);
      return this.#runner.withKey(key, (session, handle) =>
        signInSession(this.#token.loaded, session.handle, handle, plan, key.pace, authenticate),
      );
    });
    return { signature };
  }

  async decrypt(params: HostParams<'decrypt'>): Promise<HostResult<'decrypt'>> {
    const plaintext = await this.#login.withPin(params.pin, (authenticate) =>
      decryptWithKey(this.#token, this.#runner, this.#usableKey(params), params, authenticate),
    );
    return { plaintext };
  }

  /** True while the module is at work in some thread. */
  get busy(): boolean {
    return this.#token.sessions.busy > 0;
  }

  /** Before the process ends of its own accord. Tokens at a distance free their sessions sooner. */
  finalize(): void {
    this.#presence.stop();
    this.#token.finalize();
  }

  #usableKey({ ref, mechanism, pin = false }: { ref: number; mechanism: Mechanism; pin?: boolean }): Key {
    if (!this.#loggedIn) throw new AgentError('LOCKED', 'the token is locked; run "keyagent unlock"');
    const key = this.#keyList.get(ref);
    const { state, mechanisms, alwaysAuthenticate } = key.host;
    if (state === 'mismatch') {
      throw new AgentError(
        'KEY_MISMATCH',
        'its certificate or public key in the token belongs to another key',
      );
    }
    if (alwaysAuthenticate && !pin) {
      throw new AgentError('MECHANISM', 'the key asks for the PIN at every use (CKA_ALWAYS_AUTHENTICATE)');
    }
    if (!mechanisms.includes(mechanism)) {
      throw new AgentError('MECHANISM', `the key does not do ${mechanism}, but ${mechanisms.join(', ')}`);
    }
    return key;
  }

  #forgetLogin(): void {
    this.#loggedIn = false;
    this.#token.sessions.drop();
  }
}
