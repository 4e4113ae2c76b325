/**
 * `keyagent unlock [TOKEN]`: asks which tokens there are, gets a PIN (terminal, --stdin, systemd-ask-password, the
 * operator's keyring) or tells the agent to ask one of its sources, and sends it once. A wrong PIN is never tried again;
 * a question is withdrawn when somebody else unlocks the token.
 */
import {
  AgentError,
  sourceNames,
  type Caller,
  type Params,
  type Result,
  type SourceName,
} from '@keyagent/protocol';
import { InvalidArgumentError, Option, type Command } from 'commander';
import { durationForm, parseDuration } from '../../config/duration.js';
import { wipe } from '../../unlock/secret-bytes.js';
import { askPassword } from '../ask-password.js';
import { CommandError } from '../exit-codes.js';
import { cardOption, giveCards, PinAsker, type CardOptions } from '../give-cards.js';
import { keyringOf } from '../keyring-of.js';
import { nextState } from '../next-state.js';
import { askOpenly, UnlockedMeanwhile } from '../open-question.js';
import { hasPinPad, question, refusePrompt, type TokenStatus } from '../operator-prompt.js';
import { promptPin, readPinLine } from '../pin-input.js';
import { unlockTimeoutMs, type Session } from '../session.js';

interface UnlockOptions extends CardOptions {
  source?: SourceName;
  askPassword?: true;
  for?: number;
}

export function addUnlock(program: Command, session: Session): void {
  program
    .command('unlock')
    .argument('[token]', 'name of the token; may be left out if there is one only')
    .description('log in to a token')
    .addOption(new Option('--source <name>', 'where the PIN comes from').choices(sourceNames))
    .addOption(new Option('--stdin', 'read the PIN from standard input: its first line, or a line a card'))
    .addOption(
      new Option('--ask-password', 'ask through systemd-ask-password; wait for the token').conflicts([
        'source',
        'stdin',
      ]),
    )
    .addOption(cardOption('with --source card: label or serial of the card to give next; may be repeated'))
    .addOption(new Option('--for <duration>', 'lock again after this time, such as 8h').argParser(durationMs))
    .option('--force', 'even if one wrong PIN more locks the token')
    .action(async (name: string | undefined, options: UnlockOptions) => {
      refuseConflicts(options);
      const results = await session.control(
        async (agent) => {
          const tokens = chosenTokens(await tokensOf(agent), name, options);
          const unlocked: Result<'unlock'>[] = [];
          for (const token of tokens) unlocked.push(await unlock({ agent, token, options, session }));
          return unlocked;
        },
        { notify: true },
      );
      await session.print({ tokens: results }, results.map(resultLine).join(''));
    });
}

function refuseConflicts({ source, stdin, card }: UnlockOptions): void {
  if (stdin === true && source !== undefined && source !== 'card') {
    throw new CommandError('USAGE', `--stdin cannot be used with --source ${source}`);
  }
  if (card !== undefined && source !== 'card') throw new CommandError('USAGE', '--card needs --source card');
}

function durationMs(text: string): number {
  const value = parseDuration(text);
  if (value === undefined) throw new InvalidArgumentError(`It must be ${durationForm}.`);
  return value;
}

/** The named one, or the only one, or all where nothing has to be typed. */
function chosenTokens(
  tokens: readonly TokenStatus[],
  name: string | undefined,
  { source }: UnlockOptions,
): readonly TokenStatus[] {
  const names = tokens.map((token) => token.name).join(', ');
  if (name !== undefined) {
    const token = tokens.find((each) => each.name === name);
    if (token === undefined)
      throw new AgentError('NOT_FOUND', `there is no token "${name}"; there is: ${names}`);
    return [token];
  }
  const asksNothing = source !== undefined && source !== 'prompt' && source !== 'card';
  if (tokens.length === 1 || asksNothing) return tokens;
  throw new CommandError('USAGE', `which token? name one of: ${names}`);
}

async function tokensOf(agent: Caller): Promise<readonly TokenStatus[]> {
  return (await agent.call('status', {}, { timeoutMs: 10_000 })).tokens;
}

interface Unlocking {
  agent: Caller;
  token: TokenStatus;
  options: UnlockOptions;
  session: Session;
}

async function unlock(unlocking: Unlocking): Promise<Result<'unlock'>> {
  const { agent, token, options } = unlocking;
  const params: Params<'unlock'> = { token: token.name };
  if (options.for !== undefined) params.for_ms = options.for;
  if (options.force === true) params.force = true;
  try {
    if (options.source === 'card' && !hasPinPad(token)) return await unlockWithCards(unlocking);
    await addPin(params, unlocking);
    return await agent.call('unlock', params, { timeoutMs: unlockTimeoutMs });
  } catch (error) {
    if (!(error instanceof UnlockedMeanwhile)) throw error;
    return { token: token.name, state: 'unlocked', already: true };
  } finally {
    wipe(params.pin);
  }
}

async function unlockWithCards({ agent, token, options, session }: Unlocking): Promise<Result<'unlock'>> {
  const { name } = token;
  if (token.state === 'unlocked') return { token: name, state: 'unlocked', already: true };
  await askOpenly(agent, name, async (withdrawn) => {
    const pins = new PinAsker(session, options, withdrawn);
    try {
      const plan = { token: name, deed: 'unlock', force: options.force ?? false } as const;
      await giveCards({ agent, session, pins, options, plan, forMs: options.for });
    } finally {
      await pins.close();
    }
  });
  return { token: name, state: 'unlocked', already: false };
}

async function addPin(
  params: Params<'unlock'>,
  { agent, token, options, session }: Unlocking,
): Promise<void> {
  const { source = 'prompt', stdin, askPassword: throughSystemd, force = false } = options;
  // On a terminal --stdin would show the PIN: there it means the prompt.
  if (stdin === true && session.streams.stdin.isTTY !== true) {
    params.pin = await readPinLine(session.streams);
    params.via = 'prompt';
  } else if (source === 'keyring') {
    // The operator's own keyring, in the operator's session; the agent has none, or another one.
    params.pin = await keyringOf(token.name, session).pin();
    params.via = 'keyring';
  } else if (source !== 'prompt' && !(source === 'card' && hasPinPad(token))) {
    params.source = source;
  } else {
    const found = throughSystemd === true ? await atRest(agent, token) : token;
    if (found.state === 'unlocked') return;
    refusePrompt(found, force);
    if (hasPinPad(found)) {
      session.warn(`enter the PIN of ${found.name} on the reader`);
      return;
    }
    params.via = 'prompt';
    params.pin = await askOpenly(agent, found.name, (withdrawn) =>
      throughSystemd === true
        ? askPassword(question(found), `keyagent:${found.name}`, withdrawn)
        : promptPin(question(found), session.streams, withdrawn),
    );
  }
}

/** At boot the agent may still be looking for the token, or be logging in to it. */
async function atRest(agent: Caller, { name }: TokenStatus): Promise<TokenStatus> {
  for (;;) {
    const change = nextState(agent, name);
    // Told by the call below as well.
    change.catch(() => undefined);
    const token = (await tokensOf(agent)).find((each) => each.name === name);
    if (token === undefined) throw new AgentError('NOT_FOUND', `there is no token "${name}" any more`);
    if (token.state !== 'absent' && token.state !== 'unlocking') return token;
    await change;
  }
}

function resultLine({ token, state, already }: Result<'unlock'>): string {
  return already ? `${token} was unlocked already\n` : `${token} ${state}\n`;
}
