/**
 * `keyagent status`: the agent, its tokens and, on the control socket, what each PIN source said last. Exit 0 also when
 * tokens are locked; 69 when no agent answers.
 */
import type { Result } from '@keyagent/protocol';
import type { Command } from 'commander';
import { visible } from '../../visible.js';
import type { Session } from '../session.js';
import { textTable } from '../text-table.js';

type Status = Result<'status'>;
/** Without sources on the client socket. */
type Report = Status & Partial<Result<'sources'>>;

export function addStatus(program: Command, session: Session): void {
  program
    .command('status')
    .description('show the agent and the state of its tokens')
    .action(async () => {
      const report = await session.controlOrClient<Report>(async (agent, face) => {
        const status = await agent.call('status', {}, { timeoutMs });
        if (face === 'client') return status;
        return { ...status, ...(await agent.call('sources', {}, { timeoutMs })) };
      });
      await session.print(report, statusText(report));
    });
}

const timeoutMs = 10_000;

function statusText({ agent, pid, uptime, revoked, tokens, sources, prompts = [] }: Report): string {
  const first = `${visible(agent)}, pid ${pid}, up ${uptimeText(uptime)}\n`;
  const note = revoked ? 'revoked: no PIN source is asked until "keyagent unlock"\n' : '';
  return first + note + textTable(header, tokens.map(row)) + (sources ? sourcesText(sources, prompts) : '');
}

const header = ['TOKEN', 'STATE', 'KEYS', 'LABEL', 'SERIAL', 'FLAGS', 'DETAIL'];

function row({
  name,
  state,
  keys,
  label,
  serial,
  flags,
  detail,
  locks_at,
}: Status['tokens'][number]): string[] {
  const shown = (text = ''): string => (text === '' ? '-' : text);
  const why = locks_at === undefined ? detail : `${detail}; locks at ${timeText(locks_at)}`;
  return [name, state, shown(keys?.toString()), shown(label), shown(serial), shown(flags), shown(why)];
}

/** A token whose prompt waits is there for any operator to unlock, whether or not others are asked already. */
function sourcesText(sources: Result<'sources'>['sources'], prompts: NonNullable<Status['prompts']>): string {
  const answers = sources.map(({ token, source, at, result }) => [token, source, timeText(at), result]);
  const asked = prompts.map(({ token, uid, pid, since }) => [
    token,
    'prompt',
    timeText(since),
    `asks uid ${uid} (pid ${pid})`,
  ]);
  const rows = [...answers, ...asked];
  return `\n${textTable(['TOKEN', 'SOURCE', 'WHEN', 'ANSWER'], rows)}`;
}

function timeText(seconds: number | undefined): string {
  return seconds === undefined ? '-' : new Date(seconds * 1000).toISOString().replace('.000', '');
}

function uptimeText(seconds: number): string {
  const minutes = Math.floor(seconds / 60);
  if (minutes === 0) return `${seconds} s`;
  if (minutes < 60) return `${minutes} min`;
  const hours = Math.floor(minutes / 60);
  return hours < 48 ? `${hours} h ${minutes % 60} min` : `${Math.floor(hours / 24)} d ${hours % 24} h`;
}
