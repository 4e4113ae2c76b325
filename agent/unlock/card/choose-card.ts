/** Which of the cards that the readers show is meant. Pure. Every refusal says what to do. */
import { AgentError, formatPkcs11Uri } from '@keyagent/protocol';
import type { Look, VisibleCard } from './card-readers.js';
import type { CardIdentity } from './sealed-pin.js';

export interface Wanted {
  /** Name of the token, for errors. */
  readonly token: string;
  /** The cards of the set; undefined: any card will do. */
  readonly known: readonly CardIdentity[] | undefined;
  readonly given: readonly CardIdentity[];
}

/**
 * The card that was named, or what the first reader shows that has exactly one card that is still wanted.
 * @param name  label or serial
 * @throws AgentError TOKEN_ABSENT, AMBIGUOUS, NOT_FOUND (foreign), INVALID (given already); what a reader failed with
 */
export function chooseCard(look: Look, wanted: Wanted, name: string | undefined): VisibleCard {
  if (name !== undefined) return chooseNamed(look, wanted, name);
  const open = look.cards.filter((card) => isKnown(card, wanted) && !isGiven(card, wanted));
  const alone = open.find((card) => open.every((other) => other === card || other.reader !== card.reader));
  if (alone !== undefined) return alone;
  if (open.length > 0) throw ambiguous('which card? say --card with its label or serial', open);
  throw absent(look, wanted);
}

/** @throws AgentError NOT_FOUND, INVALID: a card that is not of the set, or was given already */
export function requireWanted(card: CardIdentity, wanted: Wanted): void {
  if (isGiven(card, wanted)) {
    throw new AgentError('INVALID', `card ${card.label} was given already; give another one`);
  }
  if (isKnown(card, wanted)) return;
  const { token, known = [] } = wanted;
  const message = `card ${card.label} (serial ${card.serial}) is not of the set of ${token}; its cards: ${list(known)}`;
  throw new AgentError('NOT_FOUND', message);
}

export function isSameCard(a: CardIdentity, b: CardIdentity): boolean {
  return a.label === b.label && a.serial === b.serial;
}

/** Whether an operator's word means this card. */
export function isCalled({ label, serial }: CardIdentity, name: string): boolean {
  return label === name || serial === name;
}

function chooseNamed(look: Look, wanted: Wanted, name: string): VisibleCard {
  const called = look.cards.filter((card) => isCalled(card, name));
  const [card] = called;
  if (card !== undefined) {
    if (called.some((other) => !isSameCard(other, card))) {
      throw ambiguous(`several cards are called ${name}; say --card with a serial`, called);
    }
    requireWanted(card, wanted);
    return card;
  }
  const enrolled = wanted.known?.find((each) => isCalled(each, name));
  if (enrolled !== undefined) requireWanted(enrolled, wanted);
  if (enrolled === undefined && wanted.known !== undefined) {
    throw new AgentError(
      'NOT_FOUND',
      `the set of ${wanted.token} has no card ${name}; its cards: ${list(wanted.known)}`,
    );
  }
  throw new AgentError('TOKEN_ABSENT', `no reader shows card ${name}; insert it${alsoFailed(look)}`);
}

function absent(look: Look, wanted: Wanted): AgentError {
  const [failed] = look.problems;
  if (look.cards.length === 0 && failed !== undefined) return failed;
  const missing = wanted.known?.filter((card) => !isGiven(card, wanted));
  const which = missing === undefined ? 'another card' : `one of ${list(missing)}`;
  const shown = look.cards.length === 0 ? 'no card' : `only ${list(look.cards)}`;
  return new AgentError('TOKEN_ABSENT', `insert ${which}; the readers show ${shown}${alsoFailed(look)}`);
}

function alsoFailed({ problems }: Look): string {
  return problems.map(({ message }) => `; ${message}`).join('');
}

function ambiguous(message: string, cards: readonly VisibleCard[]): AgentError {
  return new AgentError('AMBIGUOUS', `${message}: ${list(cards)}`, {
    candidates: cards.slice(0, 8).map(({ label, serial }) => formatPkcs11Uri({ token: label, serial })),
  });
}

function list(cards: readonly CardIdentity[]): string {
  return cards.map(({ label, serial }) => `${label} (${serial})`).join(', ');
}

function isKnown(card: CardIdentity, { known }: Wanted): boolean {
  return known === undefined || known.some((each) => isSameCard(each, card));
}

function isGiven(card: CardIdentity, { given }: Wanted): boolean {
  return given.some((each) => isSameCard(each, card));
}
