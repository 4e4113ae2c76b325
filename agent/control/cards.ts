/** Operators' requests about their cards. What is given for a deed stays in the agent until it is done (OperatorCards). */
import { AgentError, type Params, type Result } from '@keyagent/protocol';
import type { Peer } from '../policy/peer.js';
import type { Tokens } from '../token/tokens.js';
import { isSameCard } from '../unlock/card/choose-card.js';
import type { OperatorCards, Plan } from '../unlock/card/operator-cards.js';
import type { SealedPin } from '../unlock/card/sealed-pin.js';
import { wipe } from '../unlock/secret-bytes.js';
import { takePin } from './take-pin.js';

export interface CardContext {
  readonly tokens: Tokens;
  readonly cards: OperatorCards;
}

export function listCards(params: Params<'cards'>, { tokens, cards }: CardContext): Result<'cards'> {
  const token = tokens.named(params.token);
  const { sealed, given } = cards.list(token);
  return {
    token: token.name,
    serial: sealed.serial,
    quorum: sealed.quorum,
    cards: sealed.cards.map((card) => ({
      label: card.label,
      serial: card.serial,
      given: given.some((each) => isSameCard(each, card)),
    })),
  };
}

export function beginCards(
  params: Params<'card-begin'>,
  { tokens, cards }: CardContext,
): Promise<Result<'card-begin'>> {
  return cards.begin(tokens.named(params.token), planOf(params), params.force ?? false);
}

export async function findCard(
  params: Params<'card-find'>,
  { tokens, cards }: CardContext,
): Promise<Result<'card-find'>> {
  const { flags, ...found } = await cards.look(tokens.named(params.token), params.deed, params.card);
  return { ...found, flags: flags.join(' ') };
}

export async function giveCard(
  params: Params<'card-give'>,
  peer: Peer,
  { tokens, cards }: CardContext,
): Promise<Result<'card-give'>> {
  const { token, deed, reader, label, serial, force = false, for_ms: forMs } = params;
  const pin = takePin(params.pin);
  try {
    const gift = { reader, card: { label, serial }, pin, force, forMs };
    return await cards.give(tokens.named(token), deed, gift, peer);
  } finally {
    wipe(pin);
  }
}

export async function sealToCards(
  params: Params<'card-seal'>,
  peer: Peer,
  { tokens, cards }: CardContext,
): Promise<Result<'card-seal'>> {
  const pin = takePin(params.pin);
  try {
    const set = await seal({ ...params, pin }, peer, { tokens, cards });
    return { quorum: set.quorum, cards: set.cards.map(({ label, serial }) => ({ label, serial })) };
  } finally {
    wipe(pin);
  }
}

function seal(
  { token: name, deed, card, pin, force = false }: Params<'card-seal'>,
  peer: Peer,
  { tokens, cards }: CardContext,
): Promise<SealedPin> {
  const token = tokens.named(name);
  if (deed === 'enrol' && card === undefined) return cards.enrol(token, { pin, force }, peer);
  if (deed === 'remove' && card !== undefined) return cards.remove(token, card, { pin, force }, peer);
  throw new AgentError(
    'INVALID',
    'a PIN is sealed for deed enrol, and for deed remove with the card that goes',
  );
}

function planOf({ deed, cards, quorum, card }: Params<'card-begin'>): Plan {
  if (deed === 'enrol' && cards !== undefined && quorum !== undefined && card === undefined) {
    return { deed, cards, quorum };
  }
  if (cards === undefined && quorum === undefined) {
    if (deed === 'unlock' && card === undefined) return { deed };
    if (deed === 'remove' && card !== undefined) return { deed, card };
  }
  throw new AgentError(
    'INVALID',
    'enrol takes cards and quorum, remove takes card, unlock takes none of them',
  );
}
