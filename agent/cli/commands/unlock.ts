/**
 * `keyagent unlock [TOKEN]`: asks which tokens there are, gets a PIN (terminal, --stdin, the operator's keyring) or
 * tells the agent to ask one of its sources, and sends it once. A wrong PIN is never tried again.
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
import { visible } from '../../visible.js';
import { CommandError } from '../exit-codes.js';
import { keyringOf } from '../keyring-of.js';
import { promptPin, readPinLine } from '../pin-input.js';
import { unlockTimeoutMs, type Session } from '../session.js';

type TokenStatus = Result<'status'>['tokens'][number];

interface UnlockOptions {
  source?: SourceName;
  stdin?: true;
  for?: number;
  force?: true;
}

export function addUnlock(program: Command, session: Session): void {
  program
    .command('unlock')
    .argument('[token]', 'name of the token; may be left out if there is one only')
    .description('log in to a token')
    .addOption(new Option('--source <name>', 'where the PIN comes from').choices(sourceNames))
    .addOption(
      new Option('--stdin', 'read the PIN from the first line of standard input').conflicts('source'),
    )
    .addOption(new Option('--for <duration>', 'lock again after this time, such as 8h').argParser(durationMs))
    .option('--force', 'even if one wrong PIN more locks the token')
    .action(async (name: string | undefined, options: UnlockOptions) => {
      const results = await session.control(async (agent) => {
        const { tokens } = await agent.call('status', {}, { timeoutMs: 10_000 });
        const unlocked: Result<'unlock'>[] = [];
        for (const token of chosenTokens(tokens, name, options)) {
          unlocked.push(await unlock(agent, token, options, session));
        }
        return unlocked;
      });
      await session.print({ tokens: results }, results.map(resultLine).join(''));
    });
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
  const asksNothing = source !== undefined && source !== 'prompt';
  if (tokens.length === 1 || asksNothing) return tokens;
  throw new CommandError('USAGE', `which token? name one of: ${names}`);
}

async function unlock(
  agent: Caller,
  token: TokenStatus,
  options: UnlockOptions,
  session: Session,
): Promise<Result<'unlock'>> {
  const params: Params<'unlock'> = { token: token.name };
  if (options.for !== undefined) params.for_ms = options.for;
  if (options.force === true) params.force = true;
  try {
    await addPin(params, token, options, session);
    return await agent.call('unlock', params, { timeoutMs: unlockTimeoutMs });
  } finally {
    params.pin?.fill(0);
  }
}

async function addPin(
  params: Params<'unlock'>,
  token: TokenStatus,
  { source = 'prompt', stdin }: UnlockOptions,
  session: Session,
): Promise<void> {
  // On a terminal --stdin would show the PIN: there it means the prompt.
  if (stdin === true && session.streams.stdin.isTTY !== true) {
    params.pin = await readPinLine(session.streams);
    params.via = 'prompt';
  } else if (source === 'keyring') {
    // The operator's own keyring, in the operator's session; the agent has none, or another one.
    params.pin = await keyringOf(token.name, session).pin();
    params.via = 'keyring';
  } else if (source !== 'prompt') {
    params.source = source;
  } else if (needsPin(token)) {
    refusePrompt(token, params.force ?? false);
    params.pin = await promptPin(question(token), session.streams);
    params.via = 'prompt';
  }
}

/** Not if the agent has nothing to do, and not if the PIN is typed on the reader's own pad. */
function needsPin({ state, flags = '' }: TokenStatus): boolean {
  return state !== 'unlocked' && !flags.split(' ').includes('protected-authentication-path');
}

/** What the agent would refuse anyway is said before anybody types a PIN. */
function refusePrompt({ name, state, flags = '', detail }: TokenStatus, force: boolean): void {
  if (state === 'absent') {
    throw new AgentError('TOKEN_ABSENT', `token ${name} is absent; ${detail ?? 'insert it and try again'}`);
  }
  const set = flags.split(' ');
  if (set.includes('user-pin-locked')) {
    throw new AgentError(
      'PIN_BLOCKED',
      `the PIN of ${name} is locked; its security officer must set a new one`,
    );
  }
  if (set.includes('user-pin-final-try') && !force) {
    throw new AgentError('PIN_BLOCKED', `one wrong PIN now locks ${name}; say --force if you are sure of it`);
  }
}

function question({ name, label, serial, flags = '' }: TokenStatus): string {
  const identity = [label && `label ${visible(label)}`, serial && `serial ${visible(serial)}`]
    .filter(Boolean)
    .join(', ');
  const warning = flags.includes('user-pin-final-try')
    ? ', last try before it locks'
    : flags.includes('user-pin-count-low')
      ? ', wrong PINs were given before'
      : '';
  return `PIN of token ${name}${identity && ` (${identity})`}${warning}:`;
}

function resultLine({ token, state, already }: Result<'unlock'>): string {
  return already ? `${token} was unlocked already\n` : `${token} ${state}\n`;
}
