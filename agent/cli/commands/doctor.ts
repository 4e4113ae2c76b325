/**
 * `keyagent doctor`: why a server does not get its key, seen as its user, and what to change. A cause stands before what
 * it causes; the exit status is that of the first problem.
 */
import { AgentError } from '@keyagent/protocol';
import type { Command } from 'commander';
import { visible } from '../../visible.js';
import { examine, type DoctorOptions } from '../doctor/examine.js';
import type { Check, Problem } from '../doctor/check.js';
import type { Session } from '../session.js';

export function addDoctor(program: Command, session: Session): void {
  program
    .command('doctor')
    .description('say what keeps a user from using keys, and what to change')
    .option('--user <name>', 'look as this user; as yourself by default')
    .option('--key <uri>', 'load this key through OpenSSL, and sign with it if a rule allows it')
    .option(
      '--env <name=value>',
      "as the server's environment has it: OPENSSL_CONF and the like",
      collect,
      [],
    )
    .action(async (options: DoctorOptions) => {
      const { user, checks } = await examine(options, session);
      const problems = checks.filter((check) => check.verdict === 'problem');
      await session.print({ user, checks, problems: problems.length }, checks.map(lineOf).join(''));
      if (problems[0] !== undefined) throw verdict(user, problems[0], problems.length);
    });
}

function collect(value: string, before: readonly string[]): string[] {
  return [...before, value];
}

function lineOf(check: Check): string {
  const { verdict: word, name, says } = check;
  const remedy = 'remedy' in check ? ` -> ${check.remedy}` : '';
  return `${word.padEnd(7)}  ${visible(`${name}: ${says}${remedy}`)}\n`;
}

function verdict(user: string, { name, code, remedy }: Problem, count: number): AgentError {
  const what = count === 1 ? `a problem for ${user}` : `${count} problems for ${user}, the first`;
  return new AgentError(code, `${what}: ${name}; ${remedy}`);
}
