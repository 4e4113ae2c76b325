/**
 * An operator's PIN through systemd-ask-password(1): whichever of its agents runs shows the question - a console at
 * boot, Plymouth, a desktop. Output: a Buffer that the caller wipes. It waits as long as it takes.
 */
import { AgentError } from '@keyagent/protocol';
import { pinFromLine } from '../unlock/sources/pin-line.js';
import { runSecretChild } from '../unlock/sources/secret-child.js';
import { CommandError } from './exit-codes.js';

const env = { PATH: '/usr/bin:/bin', LC_ALL: 'C' };

/**
 * @param id      tells agents what the question is about, as cryptsetup:/dev/sda5 does
 * @param signal  withdraws the question; then it throws the signal's reason
 * @throws AgentError SOURCE_FAILED, INVALID; CommandError INTERRUPTED when the operator cancels
 */
export async function askPassword(message: string, id: string, signal: AbortSignal): Promise<Buffer> {
  const args = ['--no-tty', '--timeout=0', `--id=${id}`, '--', message];
  // It withdraws the question when it is told to end; killed, or left behind, it would go on asking.
  const child = { command: 'systemd-ask-password', args, env, endSignal: 'SIGTERM' } as const;
  const ending = await exitingOnSignals(() => runSecretChild(child, { signal }));
  switch (ending.how) {
    case 'not-started':
      throw failed(`systemd-ask-password cannot be run (${ending.cause.message}); use --stdin`, ending.cause);
    case 'stopped':
      throw ending.cause;
    case 'ended':
      if (ending.status === 0) return pinFromLine(ending.output);
      throw refusal(ending.complaint.join('; '));
  }
}

function refusal(complaint: string): Error {
  if (complaint.includes('Operation canceled')) {
    return new CommandError('INTERRUPTED', 'no PIN was given; nothing has changed');
  }
  const advice = complaint.includes('Permission denied') ? '; only root may ask this way' : '';
  return failed(`systemd-ask-password gave no PIN: ${complaint || 'it gave no reason'}${advice}`);
}

/** Leaves in the orderly way on signals whose default is to end at once: children end with this process then. */
async function exitingOnSignals<T>(work: () => Promise<T>): Promise<T> {
  const endings = [
    ['SIGTERM', 143],
    ['SIGHUP', 129],
  ] as const;
  const listeners = endings.map(([name, status]) => ({ name, listener: () => process.exit(status) }));
  for (const { name, listener } of listeners) process.on(name, listener);
  try {
    return await work();
  } finally {
    for (const { name, listener } of listeners) process.off(name, listener);
  }
}

function failed(message: string, cause?: unknown): AgentError {
  return new AgentError('SOURCE_FAILED', message, { cause });
}
