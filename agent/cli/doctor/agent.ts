/** Whether the configuration is good, the agent runs, and its tokens can be used. Pure: facts in, checks out. */
import type { AgentError, Result } from '@keyagent/protocol';
import type { Config } from '../../config/config.js';
import { visible } from '../../visible.js';
import { note, ok, problem, type Check } from './check.js';

export type Status = Result<'status'>;

export interface ConfigurationFacts {
  readonly file: string;
  readonly config: Config | AgentError;
  /** A socket was named, so an agent with another configuration may be meant. */
  readonly socketNamed: boolean;
}

export function configurationCheck({ file, config, socketNamed }: ConfigurationFacts): Check {
  const name = 'configuration';
  if (!(config instanceof Error))
    return ok(name, `${file}: ${config.tokens.length} tokens, ${config.rules.length} rules`);
  const reason = (config.cause as NodeJS.ErrnoException | undefined)?.code;
  if (reason === 'EACCES') return note(name, `${file} is not for you to read`, 'run doctor as root');
  if (reason === 'ENOENT' && socketNamed)
    return note(name, `${file} is not there`, 'name that of the agent with --config');
  return problem(
    name,
    'CONFIGURATION',
    config.message,
    'mend it; keyagentd --check-config tells whether all is well',
  );
}

export function agentCheck(socket: string, status: Status | AgentError, version: string): Check {
  if (status instanceof Error) return agentProblem(socket, status);
  const { agent, pid } = status;
  const says = `${visible(agent)}, pid ${pid}, answers on ${socket}`;
  if (agent === `keyagent ${version}`) return ok('agent', says);
  return note('agent', `${says}; this is keyagent ${version}`, 'restart the agent after an upgrade');
}

function agentProblem(socket: string, { code, message }: AgentError): Check {
  if (code === 'UNAVAILABLE')
    return problem('agent', code, `none answers on ${socket}`, 'systemctl enable --now keyagent');
  // The socket is judged by itself.
  if (code === 'DENIED') return note('agent', `${socket}: you may not connect`, 'run doctor as root');
  return problem('agent', code, message, 'see the log of keyagentd');
}

type TokenCheck = (name: string, detail: string) => Check;

const byState: Record<Status['tokens'][number]['state'], TokenCheck> = {
  unlocked: (name) => ok(about(name), 'unlocked'),
  unlocking: (name) => note(about(name), 'a login is under way: requests wait for it'),
  locked: (name, detail) =>
    problem(about(name), 'LOCKED', `locked: nothing can be signed${detail}`, `keyagent unlock ${name}`),
  'pin-blocked': (name, detail) =>
    problem(
      about(name),
      'PIN_BLOCKED',
      `no PIN is tried any more by itself${detail}`,
      `keyagent unlock ${name}`,
    ),
  absent: (name, detail) =>
    problem(
      about(name),
      'TOKEN_ABSENT',
      `the module shows no such token${detail}`,
      `plug it in, or mend ${settings}`,
    ),
  failed: (name, detail) =>
    problem(
      about(name),
      'TOKEN_ERROR',
      `its host failed${detail}`,
      `see the log of keyagentd, and ${settings}`,
    ),
};

const settings = 'module, uri and env in its [[token]]';

export function tokenChecks(tokens: Status['tokens']): Check[] {
  return tokens.map(({ name, state, detail }) =>
    byState[state](name, detail === undefined ? '' : ` (${visible(detail)})`),
  );
}

function about(token: string): string {
  return `token ${token}`;
}
