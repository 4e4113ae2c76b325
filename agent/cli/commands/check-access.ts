/**
 * `keyagent check-access`: which rule decides, and why each one before it does not. Asks the agent, whose rules hold;
 * only if none runs, the configuration. Exit 0 if some rule allows, 77 if none does.
 */
import { AgentError, algorithms, type AlgorithmName, type Params } from '@keyagent/protocol';
import type { Command } from 'commander';
import { visible } from '../../visible.js';
import { accessOf, type Access } from '../access.js';
import { accountOf } from '../account.js';
import { algorithmNamed } from '../algorithm-for.js';
import { keyUri } from '../key-uri.js';
import type { Session } from '../session.js';

interface CheckOptions {
  user: string;
  key: string;
  alg: string;
  unit?: string;
  exe?: string;
}

export function addCheckAccess(program: Command, session: Session): void {
  program
    .command('check-access')
    .description('say which rule decides whether somebody may use a key, and why')
    .requiredOption('--user <name>', 'who: a user, with all its groups')
    .requiredOption('--key <uri>', 'the key, as RFC 7512 URI')
    .requiredOption('--alg <alg>', 'the algorithm, such as rsa-pss-sha256')
    .option('--unit <name>', 'the service that it runs in, such as apache2.service')
    .option('--exe <file>', 'the executable that it runs')
    .action(async ({ user, key, alg, unit, exe }: CheckOptions) => {
      const params: Params<'check-access'> = {
        ...accountOf(user),
        uri: keyUri(key).text,
        alg: algorithmNamed(alg),
        ...(unit === undefined ? {} : { unit }),
        ...(exe === undefined ? {} : { exe }),
      };
      const access = await accessOf(params, session);
      await session.print(access, textOf(access, user));
      if (!access.allowed) throw denied(access, user, params.alg);
    });
}

function textOf({ uri, rules, earlier, source }: Access, user: string): string {
  const lines = rules.map(
    (rule) => `rule "${visible(rule.name)}": ${sentences[rule.verdict](rule.purpose ?? '')}\n`,
  );
  const skipped = earlier === 0 ? '' : `${earlier} rules before these do not match\n`;
  const last = rules.at(-1)?.verdict === 'allows' ? '' : `${user}: denied whatever no rule above allows\n`;
  return `${uri}\nby ${source}:\n${skipped}${lines.join('')}${last}`;
}

const sentences: Record<Access['rules'][number]['verdict'], (purpose: string) => string> = {
  allows: () => 'matches and decides: allowed',
  'purpose-only': (purpose) => `matches and decides for ${purpose} messages: allowed; others go on`,
  users: () => 'does not match: users',
  groups: () => 'does not match: groups',
  units: () => 'does not match: units (--unit says which one)',
  exe: () => 'does not match: exe (--exe says which one)',
  keys: () => 'does not match: keys',
  operations: () => 'does not match: operations',
  mechanisms: () => 'does not match: mechanisms',
  purpose: (purpose) => `does not match: purpose ${purpose} does not use this algorithm`,
};

function denied({ uri }: Access, user: string, alg: AlgorithmName): AgentError {
  const what = `${algorithms[alg].operation} with ${alg} and ${uri}`;
  return new AgentError('DENIED', `no rule allows ${user} to ${what}; add a [[rule]] to the configuration`);
}
