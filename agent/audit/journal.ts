/** Gives heads to systemd's journal, where whoever can write to the log and the state directory cannot change them. */
import type { Position } from './record.js';

/** systemd's native protocol: one datagram of fields (systemd.io/JOURNAL_NATIVE_PROTOCOL). */
const journalSocket = '/run/systemd/journal/socket';
const priorityNotice = 5;

/** @param send one datagram to a Unix socket; throws */
export function sendToJournal(
  send: (socket: string, message: string) => void,
  socket = journalSocket,
): (head: Position) => void {
  return ({ seq, hash }) => {
    const fields = {
      MESSAGE: `audit head ${seq}:${hash}`,
      PRIORITY: priorityNotice,
      SYSLOG_IDENTIFIER: 'keyagentd',
      KEYAGENT_AUDIT_HEAD: `${seq}:${hash}`,
    };
    const lines = Object.entries(fields).map(([name, value]) => `${name}=${value}\n`);
    send(socket, lines.join(''));
  };
}
