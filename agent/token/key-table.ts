/**
 * The keys of one token as the agent serves them. While locked: from the cache of the last unlock, or what the token's
 * public objects show. Once logged in: what the hosts verified against the private keys.
 */
import { AgentError } from '@keyagent/protocol';
import type { HostKey, TokenInfo } from '../host/host-protocol.js';
import type { Log } from '../log.js';
import type { HostSlot } from './host-slot.js';
import type { KeyCache } from './key-cache.js';
import { serveKey, type ServedKey } from './served-key.js';

export class KeyTable {
  keys: readonly ServedKey[] = [];
  /** True when `keys` lists all of the token's keys: taken while logged in, or cached from that. */
  complete = false;

  constructor(
    private readonly token: string,
    private readonly cache: KeyCache,
    private readonly log: Log,
    /** The public data behind a URI has changed. */
    private readonly onRotated: (key: ServedKey) => void,
  ) {}

  async readPublic(slot: HostSlot, info: TokenInfo): Promise<void> {
    const cached = this.#cached(info);
    if (cached !== undefined) this.#serve(cached, info, true);
    else this.#serve((await slot.keys()).keys, info, false);
  }

  /** From every host that is logged in, so that each knows its own refs; they all show the same token. */
  async readVerified(slots: readonly HostSlot[], info: TokenInfo): Promise<void> {
    let keys: HostKey[] | undefined;
    for (const slot of slots.filter(({ loggedIn }) => loggedIn)) {
      const answer = await slot.keys();
      // Locked while it was read: what a host shows then is not all there is.
      if (!slot.loggedIn) continue;
      if (keys === undefined) this.#warn(answer);
      keys = answer.keys;
    }
    if (keys === undefined)
      throw new AgentError('LOCKED', `token ${this.token} was locked while its keys were read`);
    this.#serve(keys, info, true);
    try {
      this.cache.save(info.serial, keys);
    } catch (error) {
      this.log.error('public keys cannot be cached: servers cannot start while the token is locked', {
        token: this.token,
        error,
      });
    }
  }

  #serve(keys: readonly HostKey[], info: TokenInfo, complete: boolean): void {
    const before = this.keys;
    this.keys = keys.map((key) => serveKey(this.token, info, key));
    this.complete = complete;
    for (const key of rotatedSince(before, this.keys)) this.onRotated(key);
  }

  #cached(info: TokenInfo): HostKey[] | undefined {
    try {
      const cached = this.cache.load();
      return cached?.serial === info.serial ? cached.keys : undefined;
    } catch (error) {
      this.log.error('cached public keys are unreadable and not used', { token: this.token, error });
      return undefined;
    }
  }

  #warn({ keys, unusable }: Awaited<ReturnType<HostSlot['keys']>>): void {
    for (const { label, id, reason } of unusable) {
      const key = `${label} (id ${Buffer.from(id).toString('hex')})`;
      this.log.warn(`key cannot be served: ${reason}`, { token: this.token, key });
    }
    for (const { label } of keys.filter(({ state }) => state === 'mismatch')) {
      this.log.error('public data belongs to another private key', { token: this.token, key: label });
    }
  }
}

/** Keys whose URI was there before, with another public key or other certificates. */
function rotatedSince(before: readonly ServedKey[], now: readonly ServedKey[]): ServedKey[] {
  const uris = new Set(before.map(({ uri }) => uri));
  const shown = new Set(before.map(publicData));
  return now.filter((key) => uris.has(key.uri) && !shown.has(publicData(key)));
}

function publicData({ uri, spki, certificates }: ServedKey): string {
  return [uri, ...[spki, ...certificates].map((der) => Buffer.from(der).toString('base64'))].join('\0');
}
