/**
 * Finds out which PSS and OAEP hashes the token really does: C_GetMechanismInfo names the mechanism only (SoftHSM
 * lists OAEP and does it with SHA-1 alone). Once per process, with the first key that may; refusals are recorded.
 */
import { constants, publicEncrypt, randomBytes } from 'node:crypto';
import { hashLength, type HashName } from '@keyagent/protocol';
import { decryptOaep } from './decrypt.js';
import { oaepHashes, signHashes } from './mechanisms.js';
import type { OperationRunner } from './operation-runner.js';
import type { Paired } from './pairing.js';
import { planSignature } from './sign-plan.js';
import { signInSession } from './sign.js';
import type { Token } from './token.js';

const sampleLength = 16;

export class SelfTest {
  readonly #token: Token;
  readonly #runner: OperationRunner;
  #pssDone = false;
  #oaepDone = false;

  constructor(token: Token, runner: OperationRunner) {
    this.#token = token;
    this.#runner = runner;
  }

  async run(keys: readonly Paired[]): Promise<void> {
    const rsa = keys.filter(
      ({ object, publicKey, state }) =>
        publicKey.algorithm === 'rsa' && state === 'verified' && !object.alwaysAuthenticate,
    );
    const signer = rsa.find(({ object }) => object.sign);
    if (signer !== undefined && !this.#pssDone) {
      for (const hash of signHashes) await this.#testPss(signer, hash);
      this.#pssDone = true;
    }
    const decrypter = rsa.find(({ object }) => object.decrypt);
    if (decrypter !== undefined && !this.#oaepDone) {
      for (const hash of oaepHashes) await this.#testOaep(decrypter, hash);
      this.#oaepDone = true;
    }
  }

  async #testPss({ object, publicKey }: Paired, hash: HashName): Promise<void> {
    const { mechanisms, loaded: module } = this.#token;
    if (mechanisms.route('rsa-pss', hash) !== 'token') return;
    const data = randomBytes(hashLength[hash]);
    const plan = planSignature(publicKey, mechanisms, { mechanism: 'rsa-pss', hash, data });
    const signature = await this.#runner.tentatively(({ handle }) =>
      signInSession(module, handle, object.handle, plan, undefined),
    );
    if (signature === undefined) mechanisms.refuse('rsa-pss', hash);
  }

  async #testOaep({ object, publicKey }: Paired, oaepHash: HashName): Promise<void> {
    const { mechanisms, loaded: module } = this.#token;
    if (mechanisms.route('rsa-oaep', oaepHash) !== 'token') return;
    const sample = randomBytes(sampleLength);
    const padding = constants.RSA_PKCS1_OAEP_PADDING;
    const ciphertext = publicEncrypt({ key: publicKey.key, oaepHash, padding }, sample);
    const plaintext = await this.#runner.tentatively((session) =>
      decryptOaep({ module, session, key: object.handle, ciphertext, route: 'token' }, oaepHash),
    );
    if (plaintext?.equals(sample) !== true) mechanisms.refuse('rsa-oaep', oaepHash);
  }
}
