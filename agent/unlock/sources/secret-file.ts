/** Opens a file that holds a PIN, or leads to one, without following a link; refuses what others can read or change. */
import { constants, type Stats } from 'node:fs';
import { open, type FileHandle } from 'node:fs/promises';
import { AgentError } from '@keyagent/protocol';

/** 0400 and 0600 are good; systemd's own credentials are 0400, or 0440 with an ACL for the service's user. */
const refusedBits = 0o037;

/** @throws the error of open(2); AgentError SOURCE_FAILED from `refuseExposed` */
export async function openSecretFile(file: string, name: string): Promise<FileHandle> {
  const handle = await open(file, constants.O_RDONLY | constants.O_NOFOLLOW | constants.O_NONBLOCK);
  try {
    refuseExposed(name, await handle.stat());
    return handle;
  } catch (error) {
    await handle.close();
    throw error;
  }
}

function refuseExposed(name: string, info: Stats): void {
  if (!info.isFile()) throw refused(`${name} is not a regular file; load it from a file`);
  const euid = process.geteuid?.() ?? 0;
  if (info.uid !== 0 && info.uid !== euid) {
    throw refused(`${name} belongs to uid ${info.uid}; it must belong to root or to the agent's user`);
  }
  if ((info.mode & refusedBits) !== 0) {
    const octal = (info.mode & 0o777).toString(8).padStart(4, '0');
    throw refused(`${name} has mode ${octal}; chmod 0400 it, and change the PIN if others could read it`);
  }
}

function refused(message: string): AgentError {
  return new AgentError('SOURCE_FAILED', message);
}
