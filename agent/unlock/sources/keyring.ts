/**
 * PIN source "keyring": an item of the Secret Service (gnome-keyring, KWallet) in the session of whoever runs this,
 * with attributes service and account. Also stores and deletes the item, for `keyagent keyring`.
 */
import { isUtf8 } from 'node:buffer';
import { AgentError } from '@keyagent/protocol';
import { runKeyringChild, type KeyringItem, type KeyringWait } from './keyring-child-process.js';
import { pinFromLine } from './pin-line.js';
import type { PinSource } from './pin-source.js';

const defaultTimeoutMs = 30_000;

export class KeyringSource implements PinSource {
  readonly name = 'keyring';

  constructor(
    readonly item: KeyringItem,
    readonly timeoutMs = defaultTimeoutMs,
  ) {}

  async pin(signal?: AbortSignal): Promise<Buffer> {
    const found = await runKeyringChild('get', this.item, this.#wait(signal));
    if (found === undefined) {
      throw new AgentError(
        'SOURCE_FAILED',
        `the keyring holds no item ${nameOf(this.item)}; store the PIN with "keyagent keyring set"`,
      );
    }
    try {
      return pinFromLine(found);
    } catch (cause) {
      const reason = cause instanceof Error ? cause.message : String(cause);
      throw new AgentError('SOURCE_FAILED', `keyring item ${nameOf(this.item)}: ${reason}; store it again`, {
        cause,
      });
    }
  }

  /** Stores or replaces the item. @param pin stays the caller's to wipe */
  async store(pin: Uint8Array, signal?: AbortSignal): Promise<void> {
    // libsecret keeps a password as a C string of UTF-8.
    if (!isUtf8(pin) || pin.includes(0)) {
      throw new AgentError(
        'INVALID',
        'a keyring keeps only PINs that are UTF-8 text without NUL; use another source',
      );
    }
    await runKeyringChild('set', this.item, this.#wait(signal), pin);
  }

  /** @returns false when there was no such item to delete */
  async delete(signal?: AbortSignal): Promise<boolean> {
    return (await runKeyringChild('delete', this.item, this.#wait(signal))) !== undefined;
  }

  #wait(signal: AbortSignal | undefined): KeyringWait {
    return signal === undefined ? { timeoutMs: this.timeoutMs } : { timeoutMs: this.timeoutMs, signal };
  }
}

function nameOf({ service, account }: KeyringItem): string {
  return `${service}/${account}`;
}
