/** `keyagent card enrol|list|remove TOKEN`: operators' cards that together hold the PIN of a token. */
import { AgentError, type Caller, type Params, type Result } from '@keyagent/protocol';
import { InvalidArgumentError, type Command } from 'commander';
import { wipe } from '../../unlock/secret-bytes.js';
import { cardOption, giveCards, PinAsker, type CardOptions } from '../give-cards.js';
import { question, refusePrompt } from '../operator-prompt.js';
import { requestTimeoutMs, unlockTimeoutMs, type Session } from '../session.js';
import { textTable } from '../text-table.js';

type Numbers = { cards: number; quorum: number };

const oldSharing = (token: string): string =>
  `a copy of the old file still opens with the old cards: only a new PIN of ${token}, enrolled again, ends that`;

export function addCard(program: Command, session: Session): void {
  const card = program.command('card').description('operator cards: K of N unlock a token');
  withCardOptions(card.command('enrol'))
    .argument('<token>', 'name of the token')
    .description("seal the token's PIN to cards; asks for each card, then for the PIN")
    .requiredOption('--cards <n>', 'how many cards', wholeNumber)
    .requiredOption('--quorum <k>', 'how many of them unlock the token', wholeNumber)
    .action((token: string, options: CardOptions & Numbers) => enrol(token, options, session));
  card
    .command('list')
    .argument('<token>', 'name of the token')
    .description('the cards of a token')
    .action((token: string) => list(token, session));
  withCardOptions(card.command('remove'))
    .argument('<token>', 'name of the token')
    .argument('<card>', 'label or serial of the card that is to go')
    .description('a new sharing among the other cards; takes a quorum, or the PIN')
    .option('--pin', "with the token's PIN instead of a quorum of cards")
    .action((token: string, removed: string, options: CardOptions & { pin?: true }) =>
      remove(token, removed, options, session),
    );
}

/** What every command has that asks for cards. */
function withCardOptions(command: Command): Command {
  return command
    .addOption(cardOption('label or serial of the card to give next; may be repeated'))
    .option('--stdin', 'read PINs from standard input, one a line')
    .option('--force', 'even if one wrong PIN more locks a card or the token');
}

async function enrol(token: string, options: CardOptions & Numbers, session: Session): Promise<void> {
  const { cards, quorum } = options;
  const { set, replaced } = await withPins(session, options, async (agent, pins) => {
    const replaced = await isEnrolled(agent, token);
    const plan = { token, deed: 'enrol', cards, quorum } as const;
    await giveCards({ agent, session, pins, options, plan });
    return { set: await seal(agent, pins, { token, deed: 'enrol' }, options), replaced };
  });
  if (replaced) session.warn(oldSharing(token));
  const text = `${set.cards.length} cards are enrolled for ${token}; ${set.quorum} of them unlock it\n`;
  await session.print({ token, ...set }, text);
}

async function remove(
  token: string,
  card: string,
  options: CardOptions & { pin?: true },
  session: Session,
): Promise<void> {
  const set = await withPins(session, options, async (agent, pins) => {
    if (options.pin === true) await seal(agent, pins, { token, deed: 'remove', card }, options);
    else await giveCards({ agent, session, pins, options, plan: { token, deed: 'remove', card } });
    return agent.call('cards', { token }, { timeoutMs: requestTimeoutMs });
  });
  session.warn(oldSharing(token));
  const text = `${card} is no longer a card of ${token}; ${set.quorum} of the other ${set.cards.length} unlock it\n`;
  await session.print(set, text);
}

async function list(token: string, session: Session): Promise<void> {
  const set = await session.control((agent) =>
    agent.call('cards', { token }, { timeoutMs: requestTimeoutMs }),
  );
  const rows = set.cards.map(({ label, serial, given }) => [label, serial, given ? 'given' : '']);
  const text = textTable(['CARD', 'SERIAL', 'NOW'], rows);
  await session.print(set, `${set.quorum} of ${set.cards.length} cards unlock ${token}\n${text}`);
}

/** The token's own PIN, proved by a login, sealed. */
async function seal(
  agent: Caller,
  pins: PinAsker,
  what: Pick<Params<'card-seal'>, 'token' | 'deed' | 'card'>,
  options: CardOptions,
): Promise<Result<'card-seal'>> {
  const { force = false } = options;
  const { tokens } = await agent.call('status', {}, { timeoutMs: requestTimeoutMs });
  const token = tokens.find(({ name }) => name === what.token);
  if (token === undefined) throw new AgentError('NOT_FOUND', `there is no token "${what.token}"`);
  refusePrompt(token, force);
  const pin = await pins.pin(question(token));
  try {
    return await agent.call('card-seal', { ...what, pin, force }, { timeoutMs: unlockTimeoutMs });
  } finally {
    wipe(pin);
  }
}

async function isEnrolled(agent: Caller, token: string): Promise<boolean> {
  try {
    await agent.call('cards', { token }, { timeoutMs: requestTimeoutMs });
    return true;
  } catch (error) {
    if (!(error instanceof AgentError)) throw error;
    // A set that is damaged is one all the same.
    if (error.code === 'NOT_FOUND' || error.code === 'CONFIGURATION') return error.code !== 'NOT_FOUND';
    throw error;
  }
}

function withPins<T>(
  session: Session,
  options: CardOptions,
  work: (agent: Caller, pins: PinAsker) => Promise<T>,
): Promise<T> {
  return session.control(async (agent) => {
    const pins = new PinAsker(session, options);
    try {
      return await work(agent, pins);
    } finally {
      await pins.close();
    }
  });
}

function wholeNumber(text: string): number {
  if (!/^[1-9][0-9]{0,2}$/.test(text)) throw new InvalidArgumentError('It must be a whole number from 1 on.');
  return Number(text);
}
