/**
 * `keyagent audit verify [FILE]`: the audit log against its own chain and its head. Asks no agent; needs to read the log,
 * the head and the head's key. Exit 0 good (warnings on standard error), 65 with the line where it was tampered with.
 */
import path from 'node:path';
import type { Command } from 'commander';
import { headPaths, readHeadKey } from '../../audit/head.js';
import type { Position } from '../../audit/record.js';
import type { Verification } from '../../audit/verify.js';
import { auditFile, stateDir } from '../../config/locations.js';
import { CommandError } from '../exit-codes.js';
import type { Session } from '../session.js';
import { readableConfig, stringIn } from '../sockets.js';

interface Options {
  head?: string;
  key?: string;
  expect?: Position[];
}

export function addAudit(program: Command, session: Session): void {
  const audit = program.command('audit').description('look after the audit log');
  audit
    .command('verify')
    .argument('[file]', 'the log; its rotated parts beside it are read too')
    .option('--head <file>', 'the head, where it is not in the state directory')
    .option('--key <file>', "the head's key, where it is not in the state directory")
    .option('--expect <seq:hash...>', 'heads that were kept elsewhere, as the journal has them', parseHeads)
    .description('find changed, removed, reordered and missing lines')
    .action(async (file: string | undefined, options: Options) => {
      const places = placesOf(file, options, session);
      await report(await verified(places, options.expect ?? []), session);
    });
}

interface Places {
  file: string;
  headFile: string;
  keyFile: string;
}

function placesOf(file: string | undefined, { head, key }: Options, { options, around }: Session): Places {
  const isNamed = file !== undefined && head !== undefined && key !== undefined;
  const config = isNamed ? undefined : readableConfig(options().config, around);
  const state = headPaths(stringIn(config, ['agent', 'state_dir']) ?? stateDir(around));
  return {
    file: path.resolve(file ?? stringIn(config, ['audit', 'file']) ?? auditFile(around)),
    headFile: head ?? state.head,
    keyFile: key ?? state.key,
  };
}

async function verified({ file, headFile, keyFile }: Places, expected: Position[]): Promise<Verification> {
  const { Tampered, verify } = await import('../../audit/verify.js');
  try {
    return await verify({ file, headFile, key: readHeadKey(keyFile), expected });
  } catch (cause) {
    if (cause instanceof Tampered) throw new CommandError('TAMPERED', cause.message, { cause });
    const { code, path: name } = cause as NodeJS.ErrnoException;
    if (code === undefined || name === undefined) throw cause;
    const advice = "run this as root or as the agent's user, or name the files (FILE, --head, --key)";
    throw new CommandError('NO_INPUT', `${name}: cannot be read (${code}); ${advice}`, { cause });
  }
}

async function report({ files, first, last, warnings }: Verification, session: Session): Promise<void> {
  const document = { good: true, files, first, last, warnings };
  if (session.options().json !== true) {
    for (const { file, line, text } of warnings) session.warn(`warning: ${file}:${line}: ${text}`);
  }
  const rotated = first === 1 ? '' : `; what was before record ${first} is not here`;
  await session.print(document, `good: records ${first} to ${last} in ${files.join(', ')}${rotated}\n`);
}

function parseHeads(text: string, before: Position[] = []): Position[] {
  const [, seq, hash] = /^(\d{1,15}):([0-9a-f]{64})$/.exec(text) ?? [];
  if (seq === undefined || hash === undefined) {
    throw new CommandError(
      'USAGE',
      `"${text}" is no head; write it as NUMBER:HASH, as "audit head" in the journal has it`,
    );
  }
  return [...before, { seq: Number(seq), hash }];
}
