/** Cards for tests: what a set is made of, with keys that the test knows, or on SoftHSM tokens. */
import { constants, generateKeyPairSync, privateDecrypt, type KeyObject } from 'node:crypto';
import { type HostProcess } from '@keyagent/agent/token/host-process.js';
import { openShare, proveCardKey } from '@keyagent/agent/unlock/card/card-key.js';
import type { EnrolledCard, SealedCard } from '@keyagent/agent/unlock/card/sealed-pin.js';
import { withLogin, type Place } from '@keyagent/agent/unlock/card/single-login.js';
import { pin, SoftHsm, softhsmModule } from '../../host/softhsm.js';

export class KnownCard implements EnrolledCard {
  readonly label: string;
  readonly serial: string;
  readonly spki: Buffer;
  readonly #privateKey: KeyObject;

  constructor(number: number) {
    this.label = `ops${number}`;
    this.serial = `00${number}`;
    const { publicKey, privateKey } = generateKeyPairSync('rsa', { modulusLength: 2048 });
    this.spki = publicKey.export({ format: 'der', type: 'spki' });
    this.#privateKey = privateKey;
  }

  open({ share }: SealedCard): Buffer {
    const padding = constants.RSA_PKCS1_OAEP_PADDING;
    return privateDecrypt({ key: this.#privateKey, padding, oaepHash: 'sha256' }, share);
  }
}

/** SoftHSM tokens that are cards: an RSA key each. */
export class TokenCards {
  readonly hsm = new SoftHsm();

  add(label: string, ...keyTypes: string[]): void {
    this.hsm.initToken(label);
    keyTypes.forEach((type, index) => this.hsm.generate(label, type, `0${index + 1}`, `key ${index + 1}`));
  }

  place(label: string): Place {
    return { what: `card ${label}`, module: softhsmModule, uri: `pkcs11:token=${label}`, env: this.hsm.env };
  }

  /** As an enrolment does it. */
  enrol(label: string): Promise<EnrolledCard> {
    return withLogin(
      this.place(label),
      { pin: Buffer.from(pin), force: false },
      async (host, { serial }) => ({
        label,
        serial,
        spki: await proveCardKey(host),
      }),
    );
  }

  /** As an unlock does it. */
  open(card: SealedCard): Promise<Buffer> {
    const credentials = { pin: Buffer.from(pin), force: false };
    return withLogin(this.place(card.label), credentials, (host: HostProcess) => openShare(host, card));
  }
}

/** Every choice of `size` out of `all`. */
export function choices<T>(all: readonly T[], size: number): T[][] {
  if (size === 0) return [[]];
  return all.flatMap((one, index) => choices(all.slice(index + 1), size - 1).map((rest) => [one, ...rest]));
}
