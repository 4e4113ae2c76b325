/**
 * Objects of a token: find by template, read attributes. An attribute that the token does not have or does not
 * give is undefined; every other failure is an error.
 */
import pkcs11js, { type Attribute, type Handle, type PKCS11 } from 'pkcs11js';
import { rvOf } from './ckr.js';

/** PKCS#11 v2.40 and, from CKA_PUBLIC_KEY_INFO on, v3.0. */
export const cka = {
  class: 0x000,
  token: 0x001,
  label: 0x003,
  value: 0x011,
  certificateType: 0x080,
  keyType: 0x100,
  id: 0x102,
  decrypt: 0x105,
  sign: 0x108,
  modulus: 0x120,
  publicExponent: 0x122,
  publicKeyInfo: 0x129,
  ecParams: 0x180,
  ecPoint: 0x181,
  alwaysAuthenticate: 0x202,
} as const;

export const cko = { certificate: 1, publicKey: 2, privateKey: 3 } as const;
export const ckk = { rsa: 0x00, ec: 0x03, ecEdwards: 0x40 } as const;

const findBatch = 64;
/** A token with more objects than this is not one that we can list. */
const objectsMax = 16384;

export class ObjectReader {
  readonly #library: PKCS11;
  readonly #session: Handle;

  constructor(library: PKCS11, session: Handle) {
    this.#library = library;
    this.#session = session;
  }

  find(template: Attribute[]): Handle[] {
    const found: Handle[] = [];
    this.#library.C_FindObjectsInit(this.#session, template);
    try {
      for (;;) {
        const batch = this.#library.C_FindObjects(this.#session, findBatch);
        found.push(...batch);
        if (batch.length < findBatch || found.length > objectsMax) return found;
      }
    } finally {
      this.#library.C_FindObjectsFinal(this.#session);
    }
  }

  /** Values in the order of `types`. */
  read(object: Handle, types: readonly number[]): (Buffer | undefined)[] {
    try {
      const template = types.map((type) => ({ type }));
      return this.#library.C_GetAttributeValue(this.#session, object, template).map(({ value }) => value);
    } catch (error) {
      if (!isUnavailable(error)) throw error;
    }
    // pkcs11js gives nothing at all when one attribute is missing.
    return types.map((type) => this.#readOne(object, type));
  }

  #readOne(object: Handle, type: number): Buffer | undefined {
    try {
      return this.#library.C_GetAttributeValue(this.#session, object, [{ type }])[0]?.value;
    } catch (error) {
      if (isUnavailable(error)) return undefined;
      throw error;
    }
  }
}

function isUnavailable(error: unknown): boolean {
  const rv = rvOf(error);
  return rv === pkcs11js.CKR_ATTRIBUTE_SENSITIVE || rv === pkcs11js.CKR_ATTRIBUTE_TYPE_INVALID;
}

/** A CK_ULONG as pkcs11js hands it out: native byte order and width. */
export function ulong(value: Uint8Array | undefined): number | undefined {
  if (value?.length !== 8) return undefined;
  const [number] = new BigUint64Array(Uint8Array.from(value).buffer);
  return number === undefined ? undefined : Number(number);
}

/** A CK_BBOOL; an absent one is `absent`. */
export function bool(value: Uint8Array | undefined, absent: boolean): boolean {
  return value?.length === 1 ? value[0] !== 0 : absent;
}

export function text(value: Uint8Array | undefined): string {
  return value === undefined ? '' : Buffer.from(value).toString('utf8');
}
