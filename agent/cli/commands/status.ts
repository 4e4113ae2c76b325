/** `keyagent status`: the agent and its tokens. Exit 0 also when they are locked; 69 when no agent answers. */
import type { Result } from '@keyagent/protocol';
import type { Command } from 'commander';
import { visible } from '../../visible.js';
import type { Session } from '../session.js';
import { textTable } from '../text-table.js';

type Status = Result<'status'>;

export function addStatus(program: Command, session: Session): void {
  program
    .command('status')
    .description('show the agent and the state of its tokens')
    .action(async () => {
      const status = await session.controlOrClient((agent) =>
        agent.call('status', {}, { timeoutMs: 10_000 }),
      );
      await session.print(status, statusText(status));
    });
}

function statusText({ agent, pid, uptime, revoked, tokens }: Status): string {
  const first = `${visible(agent)}, pid ${pid}, up ${uptimeText(uptime)}\n`;
  const note = revoked ? 'revoked: no PIN source is asked until "keyagent unlock"\n' : '';
  return first + note + textTable(header, tokens.map(row));
}

const header = ['TOKEN', 'STATE', 'KEYS', 'LABEL', 'SERIAL', 'FLAGS', 'DETAIL'];

function row({ name, state, keys, label, serial, flags, detail }: Status['tokens'][number]): string[] {
  const shown = (text = ''): string => (text === '' ? '-' : text);
  return [name, state, shown(keys?.toString()), shown(label), shown(serial), shown(flags), shown(detail)];
}

function uptimeText(seconds: number): string {
  const minutes = Math.floor(seconds / 60);
  if (minutes === 0) return `${seconds} s`;
  if (minutes < 60) return `${minutes} min`;
  const hours = Math.floor(minutes / 60);
  return hours < 48 ? `${hours} h ${minutes % 60} min` : `${Math.floor(hours / 24)} d ${hours % 24} h`;
}
