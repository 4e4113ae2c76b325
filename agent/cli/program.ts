/** The keyagent command as commander knows it: global options and every command. */
import { Command, CommanderError } from 'commander';
import type { Surroundings } from '../config/locations.js';
import { native } from '../native/index.js';
import { version } from '../version.js';
import { addAudit } from './commands/audit.js';
import { addCard } from './commands/card.js';
import { addCert } from './commands/cert.js';
import { addCheckAccess } from './commands/check-access.js';
import { addConf } from './commands/conf.js';
import { addDecrypt } from './commands/decrypt.js';
import { addDoctor } from './commands/doctor.js';
import { addEnv } from './commands/env.js';
import { addKeyring } from './commands/keyring.js';
import { addKeys } from './commands/keys.js';
import { addLock } from './commands/lock.js';
import { addPubkey } from './commands/pubkey.js';
import { addRef } from './commands/ref.js';
import { addReload } from './commands/reload.js';
import { addSign } from './commands/sign.js';
import { addStatus } from './commands/status.js';
import { addStop } from './commands/stop.js';
import { addUnlock } from './commands/unlock.js';
import { reportError } from './report-error.js';
import { Session, type GlobalOptions } from './session.js';
import type { Streams } from './streams.js';

const commands = [
  addStatus,
  addUnlock,
  addLock,
  addKeys,
  addSign,
  addDecrypt,
  addCert,
  addPubkey,
  addRef,
  addConf,
  addCheckAccess,
  addDoctor,
  addKeyring,
  addCard,
  addAudit,
  addEnv,
  addReload,
  addStop,
];

/** They hold a PIN for a moment: no core dump shows it, and no other program of this user reads it. */
const holdPins: ReadonlySet<string> = new Set(['unlock', 'keyring', 'card']);

/** Runs one command line. @returns the exit status; never rejects */
export async function run(argv: readonly string[], streams: Streams, around: Surroundings): Promise<number> {
  const program = createProgram(streams, around);
  try {
    await program.parseAsync([...argv], { from: 'user' });
    return 0;
  } catch (error) {
    // --help and --version have been written.
    if (error instanceof CommanderError && error.exitCode === 0) return 0;
    // Options are not known yet if the command line itself is wrong.
    const json = program.opts<GlobalOptions>().json === true || argv.includes('--json');
    return reportError(error, json, (line) => streams.stderr.write(line));
  }
}

function createProgram(streams: Streams, around: Surroundings): Command {
  const program = new Command('keyagent')
    .description('Talks to keyagentd, which holds the login to PKCS#11 tokens.')
    .option('--socket <path>', 'client socket of the agent (KEYAGENT_SOCK)')
    .option('--control-socket <path>', 'control socket of the agent (KEYAGENT_CONTROL_SOCK)')
    .option('--config <file>', 'configuration to find the sockets in (KEYAGENT_CONFIG)')
    .option('--json', 'one JSON document on standard output; errors too, on standard error')
    .version(`keyagent ${version}`)
    .configureHelp({ showGlobalOptions: true })
    // Errors are said once, by reportError; commander would say them in its own way.
    .configureOutput({
      writeOut: (text) => streams.stdout.write(text),
      writeErr: () => undefined,
      outputError: () => undefined,
    })
    .hook('preSubcommand', (_program, command) => {
      if (holdPins.has(command.name())) native.hardenProcess();
    })
    .exitOverride();
  const session = new Session(streams, around, () => program.opts<GlobalOptions>());
  for (const add of commands) add(program, session);
  return program;
}
