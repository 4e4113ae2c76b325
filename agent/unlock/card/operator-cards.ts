/**
 * Operator cards of every token: unlock, enrol, remove. Cards come one after another, from whichever terminals; what
 * is under way for a token belongs to the agent. Nothing is written that was not proved before: that each card
 * decrypts, and that the PIN is the token's.
 */
import { AgentError, type CardDeed } from '@keyagent/protocol';
import type { AuditLog } from '../../audit/audit-log.js';
import type { Peer } from '../../policy/peer.js';
import type { Token } from '../../token/token.js';
import type { Broker } from '../broker.js';
import { requireLoginPossible } from '../login-possible.js';
import type { CardReaders, VisibleCard } from './card-readers.js';
import { audited } from './audited.js';
import { CardSetFile } from './card-set-file.js';
import { chooseCard, isSameCard, requireWanted, type Wanted } from './choose-card.js';
import { cardOf, enrolDeed, removeDeed, requireSerial, unlockDeed, without, type Deed } from './deeds.js';
import { Gathering, type Progress } from './gathering.js';
import { sealPin, type CardIdentity, type CardSet, type SealedPin } from './sealed-pin.js';
import { withLogin, type Credentials } from './single-login.js';

export interface CardParts {
  readonly readers: CardReaders;
  readonly stateDir: string;
  readonly broker: Pick<Broker, 'unlock'>;
  readonly audit: Pick<AuditLog, 'note' | 'requireWritable'>;
}

/** What operators are about to do. */
export type Plan =
  | { readonly deed: 'unlock' }
  | { readonly deed: 'enrol'; readonly cards: number; readonly quorum: number }
  /** `card`: label or serial. */
  | { readonly deed: 'remove'; readonly card: string };

export interface Gift extends Credentials {
  readonly reader: string;
  readonly card: CardIdentity;
  readonly forMs: number | undefined;
}

interface Underway {
  readonly plan: Plan;
  readonly deed: Deed;
  readonly gathering: Gathering;
}

export class OperatorCards {
  private readonly underway = new Map<Token, Map<CardDeed, Underway>>();

  constructor(private readonly parts: CardParts) {}

  /** Begins, or joins what is under way; an enrolment with other numbers, or another removal, begins anew. */
  async begin(token: Token, plan: Plan, force: boolean): Promise<Progress> {
    const deed = await this.deedOf(token, plan, force);
    const before = this.open(token, plan.deed);
    if (before !== undefined && JSON.stringify(before.plan) === JSON.stringify(plan)) {
      return before.gathering.progress;
    }
    before?.gathering.end();
    const gathering = new Gathering(deed.needed);
    const ofToken = this.underway.get(token) ?? new Map<CardDeed, Underway>();
    this.underway.set(token, ofToken.set(plan.deed, { plan, deed, gathering }));
    return gathering.progress;
  }

  /** The card that is meant, as its reader shows it. */
  async look(token: Token, name: CardDeed, card: string | undefined): Promise<VisibleCard & Progress> {
    const { deed, gathering } = this.require(token, name);
    const look = await this.parts.readers.look();
    // One module may show the token beside the cards.
    const cards = look.cards.filter((each) => token.info === undefined || !isSameCard(each, token.info));
    return { ...chooseCard({ ...look, cards }, wanted(token, deed, gathering), card), ...gathering.progress };
  }

  /** One card, with its PIN. The last one that is needed does the deed; if that fails, all are wanted again. */
  async give(token: Token, name: CardDeed, gift: Gift, peer: Peer): Promise<Progress & { done: boolean }> {
    const { deed, gathering } = this.require(token, name);
    const { card, forMs, force } = gift;
    requireWanted(card, wanted(token, deed, gathering));
    this.parts.audit.requireWritable();
    const place = this.parts.readers.place(gift.reader, card);
    const record = { event: 'card-give', token: token.name, cards: [card], peer } as const;
    const isLast = await audited(this.parts.audit, record, () =>
      gathering.add(card, () => withLogin(place, gift, (host) => deed.ask(host, card))),
    );
    const { progress } = gathering;
    if (!isLast) return { ...progress, done: false };
    try {
      const done = await deed.complete(gathering, { peer, forMs, force });
      // A new sharing makes what was given for an unlock worthless.
      if (done) this.forget([token], name === 'remove' ? undefined : name);
      return { ...progress, done };
    } catch (error) {
      gathering.end();
      throw error;
    }
  }

  /** Seals the token's own PIN to the cards that are being enrolled. */
  async enrol(token: Token, credentials: Credentials, peer: Peer): Promise<SealedPin> {
    const { plan, gathering } = this.require(token, 'enrol');
    const { given, needed } = gathering.progress;
    if (plan.deed !== 'enrol' || given < needed) {
      throw new AgentError('INVALID', `${given} of ${needed} cards were given; give the others first`);
    }
    const cards = gathering.contents.map(({ card, what }) => ({ ...card, spki: Buffer.from(what) }));
    const record = { event: 'card-enrol', token: token.name, cards, peer } as const;
    return audited(this.parts.audit, record, () =>
      this.seal(token, credentials, (serial) => ({ token: token.name, serial, quorum: plan.quorum, cards })),
    );
  }

  /** Seals the token's own PIN to the cards that remain without one. */
  async remove(token: Token, name: string, credentials: Credentials, peer: Peer): Promise<SealedPin> {
    const sealed = this.file(token).require();
    const card = cardOf(sealed, name);
    const set = without(sealed, card);
    const record = { event: 'card-remove', token: token.name, cards: [card], peer } as const;
    return audited(this.parts.audit, record, () =>
      this.seal(token, credentials, (serial) => {
        requireSerial(sealed, serial);
        return set;
      }),
    );
  }

  /** The set, and the cards of it that wait in the agent for the others of an unlock. */
  list(token: Token): { sealed: SealedPin; given: readonly CardIdentity[] } {
    return { sealed: this.file(token).require(), given: this.open(token, 'unlock')?.gathering.cards ?? [] };
  }

  /** Ends what is under way and wipes what was given; `deed`: that one only. */
  forget(tokens: Iterable<Token>, deed?: CardDeed): void {
    for (const token of tokens) {
      for (const [name, { gathering }] of this.underway.get(token) ?? []) {
        if (deed === undefined || deed === name) gathering.end();
      }
    }
  }

  /** The token goes out of service. */
  leave(token: Token): void {
    this.forget([token]);
    this.underway.delete(token);
  }

  stop(): void {
    this.forget(this.underway.keys());
  }

  private async deedOf(token: Token, plan: Plan, force: boolean): Promise<Deed> {
    const { broker, audit } = this.parts;
    const file = this.file(token);
    switch (plan.deed) {
      case 'unlock': {
        const sealed = file.require();
        const { serial, flags } = await token.refreshInfo();
        requireSerial(sealed, serial);
        requireLoginPossible(token.name, flags, { pin: true, force });
        return unlockDeed(token, sealed, { broker, audit });
      }
      case 'enrol':
        requirePinToSeal(token);
        return enrolDeed(token, plan);
      case 'remove': {
        const sealed = file.require();
        const card = cardOf(sealed, plan.card);
        without(sealed, card);
        return removeDeed(token, sealed, card, { file, audit });
      }
    }
  }

  /** Proves the PIN by a login of its own, and seals it to the set. */
  private async seal(
    token: Token,
    credentials: Credentials,
    setFor: (serial: string) => CardSet,
  ): Promise<SealedPin> {
    const { pin } = credentials;
    if (pin === undefined) throw new AgentError('INVALID', `${token.name} needs a PIN`);
    const { module, uri, env } = token.config;
    const place = { what: token.name, module, uri: uri.text, env };
    const set = await withLogin(place, credentials, (_host, { serial }) => Promise.resolve(setFor(serial)));
    const sealed = await sealPin(set, pin);
    this.file(token).write(sealed);
    // Shares of the old sharing fit to nothing any more.
    this.forget([token]);
    return sealed;
  }

  private open(token: Token, deed: CardDeed): Underway | undefined {
    const underway = this.underway.get(token)?.get(deed);
    return underway?.gathering.ended === false ? underway : undefined;
  }

  private require(token: Token, deed: CardDeed): Underway {
    const underway = this.open(token, deed);
    if (underway !== undefined) return underway;
    throw new AgentError('CANCELLED', `no cards are being given for ${token.name} now; begin again`);
  }

  private file(token: Token): CardSetFile {
    return new CardSetFile(this.parts.stateDir, token.name);
  }
}

function wanted(token: Token, { known }: Deed, { cards }: Gathering): Wanted {
  return { token: token.name, known, given: cards };
}

function requirePinToSeal({ name, info }: Token): void {
  if (info?.flags.includes('protected-authentication-path') !== true) return;
  throw new AgentError('INVALID', `${name} has a PIN pad of its own: there is no PIN that cards could hold`);
}
