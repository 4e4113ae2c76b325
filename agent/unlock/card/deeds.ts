/**
 * What operators give their cards for: how many it takes, which ones count, what each is asked for, and what follows
 * when there are enough.
 */
import { AgentError } from '@keyagent/protocol';
import type { AuditLog } from '../../audit/audit-log.js';
import type { Peer } from '../../policy/peer.js';
import type { HostProcess } from '../../token/host-process.js';
import type { Token } from '../../token/token.js';
import type { Broker } from '../broker.js';
import { wipe } from '../secret-bytes.js';
import { audited, auditedIfRefused } from './audited.js';
import { openShare, proveCardKey } from './card-key.js';
import type { CardSetFile } from './card-set-file.js';
import { isCalled, isSameCard } from './choose-card.js';
import type { Gathering } from './gathering.js';
import { sealPin, unsealPin, type CardIdentity, type SealedPin } from './sealed-pin.js';
import { requireNumbers } from './sharing.js';

/** Whoever gave the last card, and what was asked for with it. */
export interface LastGift {
  readonly peer: Peer;
  readonly forMs: number | undefined;
  readonly force: boolean;
}

export interface Deed {
  readonly needed: number;
  /** The cards that count; undefined: any. */
  readonly known: readonly CardIdentity[] | undefined;
  /** @param host  logged in to the card. @returns what the card gives to this */
  ask(host: HostProcess, card: CardIdentity): Promise<Buffer>;
  /** With as many as are needed. @returns false: there is more to do, so what was given is still wanted */
  complete(gathering: Gathering, last: LastGift): Promise<boolean>;
}

export function unlockDeed(
  token: Token,
  sealed: SealedPin,
  { broker, audit }: { broker: Pick<Broker, 'unlock'>; audit: Pick<AuditLog, 'note'> },
): Deed {
  return {
    needed: sealed.quorum,
    known: sealed.cards,
    ask: askForShare(sealed),
    complete: async (gathering, { peer, forMs, force }) => {
      const { cards } = gathering;
      const record = { event: 'unlock', source: 'card', token: token.name, cards, peer } as const;
      // What follows is recorded by the broker.
      const pin = await auditedIfRefused(audit, record, async () => {
        requireSerial(sealed, (await token.refreshInfo()).serial);
        return unseal(sealed, gathering);
      });
      try {
        await broker.unlock(token, { pin, via: 'card', forMs, force, cards }, peer);
      } catch (error) {
        throw staleIfRefused(token, error);
      } finally {
        wipe(pin);
      }
      return true;
    },
  };
}

export function enrolDeed(token: Token, numbers: { cards: number; quorum: number }): Deed {
  requireNumbers(numbers.cards, numbers.quorum);
  return {
    needed: numbers.cards,
    known: undefined,
    ask: async (host, card) => {
      if (token.info !== undefined && isSameCard(card, token.info)) {
        throw new AgentError('INVALID', `${token.name} cannot be a card of its own; give a card`);
      }
      return proveCardKey(host);
    },
    complete: () => Promise.resolve(false),
  };
}

export function removeDeed(
  token: Token,
  sealed: SealedPin,
  removed: CardIdentity,
  { file, audit }: { file: CardSetFile; audit: Pick<AuditLog, 'note'> },
): Deed {
  return {
    needed: sealed.quorum,
    known: sealed.cards,
    ask: askForShare(sealed),
    complete: async (gathering, { peer }) => {
      const record = { event: 'card-remove', token: token.name, cards: [removed], peer } as const;
      await audited(audit, record, async () => {
        const pin = await unseal(sealed, gathering);
        try {
          file.write(await sealPin(without(sealed, removed), pin));
        } finally {
          wipe(pin);
        }
      });
      return true;
    },
  };
}

/** The card of the set that an operator means. @throws AgentError NOT_FOUND, AMBIGUOUS */
export function cardOf({ token, cards }: SealedPin, name: string): CardIdentity {
  const [card, second] = cards.filter((each) => isCalled(each, name));
  if (second !== undefined)
    throw new AgentError('AMBIGUOUS', `several cards are called ${name}; name its serial`);
  if (card !== undefined) return card;
  const labels = cards.map(({ label }) => label).join(', ');
  throw new AgentError('NOT_FOUND', `the set of ${token} has no card ${name}; its cards: ${labels}`);
}

/** The set that remains. @throws AgentError INVALID when it would be too small for its quorum */
export function without(sealed: SealedPin, removed: CardIdentity): SealedPin {
  const cards = sealed.cards.filter((card) => !isSameCard(card, removed));
  if (cards.length >= sealed.quorum) return { ...sealed, cards };
  const { token, quorum } = sealed;
  const message = `without ${removed.label} ${cards.length} cards remain, and it takes ${quorum}`;
  throw new AgentError(
    'INVALID',
    `${message}; enrol a new set: keyagent card enrol ${token} --cards N --quorum K`,
  );
}

/** @throws AgentError PIN_BLOCKED: a PIN goes only to the token that it is for */
export function requireSerial({ token, serial }: SealedPin, found: string): void {
  if (found === serial) return;
  throw new AgentError(
    'PIN_BLOCKED',
    `the sealed PIN is for the ${token} with serial ${serial}, and this one has ${found}; enrol its own cards`,
  );
}

function unseal(sealed: SealedPin, { contents }: Gathering): Promise<Buffer> {
  return unsealPin(
    sealed,
    contents.map(({ what }) => what),
  );
}

function askForShare(sealed: SealedPin): Deed['ask'] {
  return (host, card) => {
    const own = sealed.cards.find((each) => isSameCard(each, card));
    if (own === undefined) throw new Error('a card that is not of the set was asked');
    return openShare(host, own);
  };
}

function staleIfRefused({ name }: Token, error: unknown): unknown {
  if (!(error instanceof AgentError) || error.code !== 'PIN_INCORRECT') return error;
  const advice = `unlock ${name} with its new PIN, and enrol the cards again`;
  return new AgentError('PIN_INCORRECT', `${name} refused the PIN that the cards hold; ${advice}`, {
    cause: error,
  });
}
