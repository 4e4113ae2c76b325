/**
 * Lists keys and keeps their handles good: reads the token's objects, has them paired and proven, finds one again
 * that went stale. Input: the token. Output: the host's `keys` reply and the keys that sign and decrypt use.
 */
import { setImmediate } from 'node:timers/promises';
import { AgentError } from '@keyagent/protocol';
import type { HostResult } from './host-protocol.js';
import { proveKey, type SignSample } from './key-proof.js';
import { KeyTable, describePublic } from './key-table.js';
import type { Key, PrivateObject } from './key.js';
import { ObjectReader, cka, cko } from './objects.js';
import type { OperationRunner } from './operation-runner.js';
import { unverifiedKeys, type Proof } from './pairing.js';
import type { PublicKey } from './public-key.js';
import { SelfTest } from './self-test.js';
import { planSignature } from './sign-plan.js';
import { signInSession } from './sign.js';
import { readPrivate, readTokenObjects, type TokenObjects } from './token-objects.js';
import type { Token } from './token.js';

/** A signature that comes meanwhile waits this long for the next turn, and for the call that runs then. Milliseconds. */
const sliceMs = 1;
/** What a key that nobody has logged in for may turn out to allow. */
const everything = { sign: true, decrypt: true } as const;

export class KeyList {
  readonly #token: Token;
  readonly #runner: OperationRunner;
  readonly #selfTest: SelfTest;
  readonly #table = new KeyTable();
  /** Looks of private objects and of the public keys that were proven to be theirs, since this many logins. */
  #proven: ReadonlySet<string> = new Set();
  #logins = 0;

  constructor(token: Token, runner: OperationRunner) {
    this.#token = token;
    this.#runner = runner;
    this.#selfTest = new SelfTest(token, runner);
  }

  /** @throws AgentError NOT_FOUND */
  get(ref: number): Key {
    return this.#table.get(ref);
  }

  /** Between its steps others get their turn with the token. */
  async renew(): Promise<HostResult<'keys'>> {
    const logins = this.#logins;
    const { objects, loggedIn } = await this.#read();
    if (!loggedIn) return { loggedIn, keys: this.#unverified(objects), unusable: [] };
    const proven = new Set<string>();
    // What was proven and looks as it did need not sign again: a rescan costs no use of the keys.
    const prove: Proof = async (object, publicKey) => {
      const looks = looksOf(object, publicKey);
      const outcome = this.#proven.has(looks) ? true : await this.#prove(object, publicKey);
      if (outcome === true) proven.add(looks);
      return outcome;
    };
    const unusable = await this.#table.renew(objects, this.#token.mechanisms, prove, (keys) =>
      this.#selfTest.run(keys),
    );
    if (logins === this.#logins) this.#proven = proven;
    return { loggedIn, keys: this.#table.keys.map(({ host }) => host), unusable };
  }

  /** After a login: handles may mean other objects than before. */
  forgetProofs(): void {
    this.#logins++;
    this.#proven = new Set();
  }

  async #read(): Promise<{ objects: TokenObjects; loggedIn: boolean }> {
    for (;;) {
      const loggedIn = await this.#runner.once(({ handle }) => this.#token.isLoggedIn(handle));
      const objects = await this.#readAs(loggedIn);
      if (objects !== undefined) return { objects, loggedIn };
    }
  }

  /** undefined: the login came or went meanwhile, and other objects with it. */
  async #readAs(loggedIn: boolean): Promise<TokenObjects | undefined> {
    const steps = readTokenObjects();
    steps.next();
    for (;;) {
      const { isSame, objects } = await this.#runner.once(({ handle }) => {
        const isSame = this.#token.isLoggedIn(handle) === loggedIn;
        const reader = new ObjectReader(this.#token.library, handle);
        return { isSame, objects: isSame ? readSlice(steps, reader) : undefined };
      });
      if (!isSame || objects !== undefined) return objects;
      await setImmediate();
    }
  }

  /** Exactly one private key may have its name, and it must prove to be the same key. @throws AgentError */
  async renewHandle(key: Key): Promise<void> {
    const object = await this.#runner.once(({ handle }) => {
      this.#token.requireLogin(handle);
      return this.#findAgain(new ObjectReader(this.#token.library, handle), key.object);
    });
    if ((await this.#prove(object, key.publicKey)) === false) {
      throw new AgentError('KEY_MISMATCH', 'another key is in its place now; list the keys again');
    }
    key.handle = object.handle;
  }

  #findAgain(reader: ObjectReader, { id, label, keyType }: PrivateObject): PrivateObject {
    const byId = { type: cka.id, value: id };
    const byLabel = { type: cka.label, value: label };
    const template = [{ type: cka.class, value: cko.privateKey }, id.length > 0 ? byId : byLabel];
    const found = reader
      .find(template)
      .map((handle) => readPrivate(reader, handle))
      .filter((object) => object.label === label && object.keyType === keyType);
    const [object, second] = found;
    if (object === undefined) {
      throw new AgentError('NOT_FOUND', 'the key left the token; list its keys again');
    }
    if (second !== undefined) {
      throw new AgentError('AMBIGUOUS', `${found.length} private keys have its CKA_ID and label`);
    }
    return object;
  }

  readonly #prove: Proof = (object, publicKey) => {
    const signSample: SignSample = async (candidate, request) => {
      if (this.#token.mechanisms.route(request.mechanism, request.hash) === undefined) return undefined;
      // The candidate may be the wrong key: a signature that it does not verify is an answer here, not a fault.
      const unchecked = { ...planSignature(candidate, this.#token.mechanisms, request), verify: undefined };
      const pace = this.#table.paceOf(object);
      return this.#runner.tentatively(({ handle }) =>
        signInSession(this.#token.loaded, handle, object.handle, unchecked, pace),
      );
    };
    return proveKey(object, publicKey, signSample);
  };

  #unverified(objects: TokenObjects): HostResult<'keys'>['keys'] {
    return unverifiedKeys(objects).map(({ label, id, publicKey, certificates }) => ({
      ref: 0,
      label,
      id,
      ...describePublic(publicKey),
      certificates,
      state: 'unverified',
      ...this.#token.mechanisms.of(publicKey.algorithm, everything),
      alwaysAuthenticate: false,
    }));
  }
}

/** Goes on reading for a moment. @returns undefined while there is more to read */
function readSlice(
  steps: ReturnType<typeof readTokenObjects>,
  reader: ObjectReader,
): TokenObjects | undefined {
  const until = performance.now() + sliceMs;
  do {
    const step = steps.next(reader);
    if (step.done === true) return step.value;
  } while (performance.now() < until);
  return undefined;
}

function looksOf({ handle, keyType, id, label, sign, decrypt }: PrivateObject, { spki }: PublicKey): string {
  return JSON.stringify([
    handle.toString('hex'),
    keyType,
    id.toString('hex'),
    label,
    sign,
    decrypt,
    spki.toString('hex'),
  ]);
}
