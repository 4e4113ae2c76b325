/**
 * Gives operators' cards to the agent, one after another, until there are enough: finds the card, gets its PIN, says
 * how far it is. Cards that are given at other terminals count as well: the agent has them all.
 */
import { AgentError, type Caller, type Params, type Result } from '@keyagent/protocol';
import { Option } from 'commander';
import { requireLoginPossible } from '../unlock/login-possible.js';
import { wipe } from '../unlock/secret-bytes.js';
import { visible } from '../visible.js';
import { warningOf } from './operator-prompt.js';
import { promptAnswer, promptPin } from './pin-input.js';
import { PinLines } from './pin-lines.js';
import { requestTimeoutMs, unlockTimeoutMs, type Session } from './session.js';

export interface CardOptions {
  /** Labels or serials, in the order in which they are given. */
  card?: string[];
  stdin?: true;
  force?: true;
}

export function cardOption(description: string): Option {
  return new Option('--card <card>', description).argParser((name: string, before: string[] | undefined) => [
    ...(before ?? []),
    name,
  ]);
}

type FoundCard = Result<'card-find'>;

/** Of the last card: a visit to it, and then the login or the new sharing. */
const giveTimeoutMs = 2 * unlockTimeoutMs;

/** Where PINs come from: the terminal, or lines of standard input. */
export class PinAsker {
  readonly #session: Session;
  readonly #lines: PinLines | undefined;
  readonly #signal: AbortSignal | undefined;

  constructor(session: Session, { stdin }: CardOptions, signal?: AbortSignal) {
    this.#session = session;
    // On a terminal --stdin would show the PIN: there it means the prompt.
    this.#lines =
      stdin === true && session.streams.stdin.isTTY !== true ? new PinLines(session.streams) : undefined;
    this.#signal = signal;
  }

  pin(question: string): Promise<Buffer> {
    return this.#lines?.next() ?? promptPin(question, this.#session.streams, this.#signal);
  }

  /** What is not in the PIN: undefined where nobody can answer. */
  async answer(question: string): Promise<string | undefined> {
    if (this.#lines !== undefined || this.#session.streams.stdin.isTTY !== true) return undefined;
    return promptAnswer(question, this.#session.streams, this.#signal);
  }

  async close(): Promise<void> {
    await this.#lines?.close();
  }
}

export interface Giving {
  readonly agent: Caller;
  readonly session: Session;
  readonly pins: PinAsker;
  readonly options: CardOptions;
  readonly plan: Params<'card-begin'>;
  readonly forMs?: number | undefined;
}

/** Resolves when there are enough, and what they are for is done if that takes nothing more. */
export async function giveCards(giving: Giving): Promise<void> {
  const { agent, options, plan, session } = giving;
  const names = [...(options.card ?? [])];
  let { given, needed } = await agent.call('card-begin', plan, { timeoutMs: requestTimeoutMs });
  if (given > 0) session.streams.stderr.write(`${given} of ${needed} cards were given before\n`);
  while (given < needed) {
    if (options.card !== undefined && names.length === 0) throw othersNeeded(plan, needed - given);
    const card = await find(giving, names.shift());
    ({ given, needed } = await give(giving, card));
    session.streams.stderr.write(`card ${visible(card.label)}: ${given} of ${needed}\n`);
  }
}

/** Those that were named were given; they wait for what is given elsewhere. */
function othersNeeded({ token }: Params<'card-begin'>, count: number): AgentError {
  const more = count === 1 ? 'one more card' : `${count} more cards`;
  return new AgentError('LOCKED', `${token} needs ${more}; give them within ten minutes, at any terminal`);
}

/** On a terminal it asks until the card is there, and which one where there are several. */
async function find({ agent, plan, pins }: Giving, name: string | undefined): Promise<FoundCard> {
  const { token, deed } = plan;
  for (let card = name; ;) {
    const params = { token, deed, ...(card === undefined ? {} : { card }) };
    try {
      return await agent.call('card-find', params, { timeoutMs: 2 * requestTimeoutMs });
    } catch (error) {
      if (!isForOperator(error)) throw error;
      const answer = await pins.answer(
        `${visible(error.message)}\nEnter to look again, or a label or serial:`,
      );
      if (answer === undefined) throw error;
      card = answer === '' ? name : answer;
    }
  }
}

function isForOperator(error: unknown): error is AgentError {
  return error instanceof AgentError && (error.code === 'TOKEN_ABSENT' || error.code === 'AMBIGUOUS');
}

async function give(
  { agent, session, pins, plan, options, forMs }: Giving,
  card: FoundCard,
): Promise<Result<'card-give'>> {
  const { reader, label, serial } = card;
  const { force = false } = options;
  const params: Params<'card-give'> = { token: plan.token, deed: plan.deed, reader, label, serial, force };
  if (forMs !== undefined) params.for_ms = forMs;
  try {
    const flags = card.flags.split(' ');
    const hasPad = flags.includes('protected-authentication-path');
    requireLoginPossible(`card ${label}`, flags, { pin: !hasPad, force });
    if (hasPad) session.streams.stderr.write(`enter the PIN of card ${visible(label)} on its reader\n`);
    else params.pin = await pins.pin(question(card));
    return await agent.call('card-give', params, { timeoutMs: giveTimeoutMs });
  } finally {
    wipe(params.pin);
  }
}

function question({ label, serial, flags, given, needed }: FoundCard): string {
  const which = `${visible(label)} (serial ${visible(serial)}), ${given + 1} of ${needed}`;
  return `PIN of card ${which}${warningOf(flags)}:`;
}
