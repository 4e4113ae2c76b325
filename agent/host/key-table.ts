/**
 * The keys of a token that is logged in: objects read, paired, proven, and numbered. A key keeps its number as
 * long as this process lives and the key stays the same, whatever handles the token gives it.
 */
import { setImmediate } from 'node:timers/promises';
import { AgentError } from '@keyagent/protocol';
import type { HostKey, UnusableKey } from './host-protocol.js';
import type { Key, PrivateObject } from './key.js';
import type { TokenMechanisms } from './mechanisms.js';
import { Pace } from './pace.js';
import { pair, type Paired, type Proof } from './pairing.js';
import type { PublicKey } from './public-key.js';
import type { TokenObjects } from './token-objects.js';

const noMechanism = 'neither it nor the token allows a mechanism (CKA_SIGN, CKA_DECRYPT, C_GetMechanismList)';

export class KeyTable {
  #byRef = new Map<number, Key>();
  readonly #refs = new Map<string, number>();
  readonly #paces = new Map<string, Pace>();

  /** @throws AgentError NOT_FOUND */
  get(ref: number): Key {
    const key = this.#byRef.get(ref);
    if (key === undefined) throw new AgentError('NOT_FOUND', 'the key left the token; list its keys again');
    return key;
  }

  get keys(): Key[] {
    return [...this.#byRef.values()];
  }

  /** What the operations of this private key took so far. */
  paceOf(object: PrivateObject): Pace {
    const name = nameOf(object);
    const pace = this.#paces.get(name) ?? new Pace();
    this.#paces.set(name, pace);
    return pace;
  }

  /** Replaces the table; it is unchanged if the token fails on the way. */
  async renew(
    objects: TokenObjects,
    mechanisms: TokenMechanisms,
    prove: Proof,
    selfTest: (keys: readonly Paired[]) => Promise<void>,
  ): Promise<UnusableKey[]> {
    const paired: Paired[] = [];
    const unusable: UnusableKey[] = [];
    for (const object of objects.privateKeys) {
      const outcome = await pair(object, objects, prove);
      if ('reason' in outcome) unusable.push(outcome);
      else paired.push(outcome);
      // Chains of many keys take a while: operations go on between them.
      await setImmediate();
    }
    await selfTest(paired);
    const renewed = new Map<number, Key>();
    for (const one of paired) {
      const key = this.#build(one, mechanisms);
      if (key.host.mechanisms.length > 0) renewed.set(key.host.ref, key);
      else unusable.push({ label: key.host.label, id: key.host.id, reason: noMechanism });
    }
    this.#byRef = renewed;
    return unusable;
  }

  #build({ object, publicKey, certificates, state }: Paired, mechanisms: TokenMechanisms): Key {
    const host: HostKey = {
      ref: this.#refOf(object, publicKey),
      label: object.label,
      id: object.id,
      ...describePublic(publicKey),
      certificates,
      state,
      ...mechanisms.of(publicKey.algorithm, object),
      alwaysAuthenticate: object.alwaysAuthenticate,
    };
    return { host, publicKey, object, pace: this.paceOf(object), handle: object.handle };
  }

  #refOf(object: PrivateObject, { spki }: PublicKey): number {
    const name = `${nameOf(object)} ${spki.toString('base64')}`;
    const ref = this.#refs.get(name) ?? this.#refs.size + 1;
    this.#refs.set(name, ref);
    return ref;
  }
}

export function describePublic({
  algorithm,
  bits,
  spki,
}: PublicKey): Pick<HostKey, 'algorithm' | 'bits' | 'spki'> {
  return { algorithm, bits, spki };
}

function nameOf({ id, label, keyType }: PrivateObject): string {
  return `${keyType} ${id.toString('hex')} ${Buffer.from(label).toString('hex')}`;
}
