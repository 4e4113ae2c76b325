/** `keyagent keyring set|delete TOKEN`: the PIN of a token in the keyring of the user who runs this. No agent is asked. */
import { AgentError } from '@keyagent/protocol';
import { Option, type Command } from 'commander';
import { wipe } from '../../unlock/secret-bytes.js';
import { CommandError } from '../exit-codes.js';
import { keyringOf } from '../keyring-of.js';
import { promptPin, readPinLine } from '../pin-input.js';
import type { Session } from '../session.js';
import type { Streams } from '../streams.js';

export function addKeyring(program: Command, session: Session): void {
  const keyring = program.command('keyring').description("keep a token's PIN in your keyring");
  keyring
    .command('set')
    .argument('<token>', 'name of the token')
    .description('store or replace the PIN')
    .addOption(new Option('--stdin', 'read the PIN from the first line of standard input'))
    .action(async (token: string, { stdin }: { stdin?: true }) => {
      const source = keyringOf(tokenName(token), session);
      // On a terminal --stdin would show the PIN: there it means the prompt.
      const isPiped = stdin === true && session.streams.stdin.isTTY !== true;
      const pin = await (isPiped ? readPinLine(session.streams) : promptTwice(token, session.streams));
      try {
        await source.store(pin);
      } finally {
        wipe(pin);
      }
      await session.print({ stored: source.item }, `the PIN of ${token} is in the keyring\n`);
    });
  keyring
    .command('delete')
    .argument('<token>', 'name of the token')
    .description('delete the PIN')
    .action(async (token: string) => {
      const source = keyringOf(tokenName(token), session);
      if (!(await source.delete())) {
        throw new AgentError(
          'NOT_FOUND',
          `the keyring holds no item ${source.item.service}/${source.item.account}`,
        );
      }
      await session.print({ deleted: source.item }, `the PIN of ${token} is no longer in the keyring\n`);
    });
}

function tokenName(name: string): string {
  if (/^[a-z0-9_-]{1,32}$/.test(name)) return name;
  throw new CommandError('USAGE', `"${name}" is no name of a token; use 1 to 32 of a-z, 0-9, _ and -`);
}

/** A slip would cost a try at the token later. */
async function promptTwice(token: string, streams: Streams): Promise<Buffer> {
  const pin = await promptPin(`PIN of token ${token}:`, streams);
  let again: Buffer | undefined;
  try {
    again = await promptPin('the same once more:', streams);
    if (!pin.equals(again))
      throw new AgentError('INVALID', 'the two PINs differ; nothing was stored, try again');
    return pin;
  } catch (error) {
    wipe(pin);
    throw error;
  } finally {
    wipe(again);
  }
}
