/**
 * The keys of one token as the agent serves them. While locked: from the cache of the last unlock, or what the token's
 * public objects show. Once logged in: what the hosts verified against the private keys.
 */
import { isDeepStrictEqual } from 'node:util';
import { AgentError } from '@keyagent/protocol';
import type { HostKey, TokenInfo } from '../host/host-protocol.js';
import type { Log } from '../log.js';
import type { HostSlot } from './host-slot.js';
import type { KeyCache } from './key-cache.js';
import { keyIdentity, serveKey, type ServedKey } from './served-key.js';

export class KeyTable {
  keys: readonly ServedKey[] = [];
  /** True when `keys` lists all of the token's keys: taken while logged in, or cached from that. */
  complete = false;
  /** What `keys` were made from. */
  #source: unknown;

  constructor(
    private readonly token: string,
    private readonly cache: KeyCache,
    private readonly log: Log,
    /** What was said of this key's URI no longer holds. */
    private readonly onRotated: (key: ServedKey) => void,
  ) {}

  async readPublic(slot: HostSlot, info: TokenInfo): Promise<void> {
    const cached = this.#cached(info);
    if (cached !== undefined) this.#serve(cached, info, true);
    else this.#serve((await slot.keys()).keys, info, false);
  }

  /**
   * From every host that is logged in, so that each knows its own refs. They all show the same token, but not at the
   * same moment: a key is served once all of them have it.
   */
  async readVerified(slots: readonly HostSlot[], info: TokenInfo): Promise<void> {
    let keys: HostKey[] | undefined;
    for (const slot of slots.filter(({ loggedIn }) => loggedIn)) {
      const answer = await slot.keys();
      // Locked while it was read: what a host shows then is not all there is.
      if (!slot.loggedIn) continue;
      if (keys === undefined) this.#warn(answer);
      const known: ReadonlySet<string> | undefined = keys && new Set(keys.map(keyIdentity));
      keys = answer.keys.filter((key) => known?.has(keyIdentity(key)) ?? true);
    }
    if (keys === undefined)
      throw new AgentError('LOCKED', `token ${this.token} was locked while its keys were read`);
    if (this.#isServed(keys, info)) return;
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

  #isServed(keys: readonly HostKey[], info: TokenInfo): boolean {
    return this.complete && isDeepStrictEqual(this.#source, sourceOf(keys, info));
  }

  #serve(keys: readonly HostKey[], info: TokenInfo, complete: boolean): void {
    const before = { keys: this.keys, complete: this.complete };
    this.keys = keys.map((key) => serveKey(this.token, info, key));
    this.complete = complete;
    this.#source = sourceOf(keys, info);
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

/** Without refs and flags: they change, and nobody is served otherwise for it. */
function sourceOf(keys: readonly HostKey[], { flags: _flags, ...info }: TokenInfo): unknown {
  return [keys.map(({ ref: _ref, ...key }) => key), info];
}

/** Keys that were replaced, have other certificates, are gone, or are new in a list that was complete. */
function rotatedSince(
  before: { readonly keys: readonly ServedKey[]; readonly complete: boolean },
  now: readonly ServedKey[],
): ServedKey[] {
  const said = new Set(before.keys.map(publicData));
  const known = new Set(before.keys.map(({ uri }) => uri));
  const there = new Set(now.map(({ uri }) => uri));
  return [
    ...now.filter((key) => !said.has(publicData(key)) && (before.complete || known.has(key.uri))),
    ...before.keys.filter(({ uri }) => !there.has(uri)),
  ];
}

function publicData({ uri, spki, certificates, state }: ServedKey): string {
  const bytes = [spki, ...certificates].map((der) => Buffer.from(der).toString('base64'));
  return [uri, state === 'mismatch' ? 'unusable' : 'usable', ...bytes].join('\0');
}
