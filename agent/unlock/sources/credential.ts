/**
 * PIN source "credential": a file that systemd put into $CREDENTIALS_DIRECTORY for this service
 * (LoadCredential=, SetCredentialEncrypted=; systemd.exec(5)). Output: its content without one trailing newline.
 */
import { constants } from 'node:fs';
import { open, stat, type FileHandle } from 'node:fs/promises';
import path from 'node:path';
import { AgentError } from '@keyagent/protocol';
import { pinFromLine, pinLineMax } from './pin-line.js';
import type { PinSource } from './pin-source.js';

/** systemd's own files are 0400, or 0440 with an ACL for the service's user. */
const refusedBits = 0o037;

export class CredentialSource implements PinSource {
  readonly name = 'credential';

  /**
   * @param credential name of the credential, a plain file name
   * @param directory  $CREDENTIALS_DIRECTORY
   */
  constructor(
    readonly credential: string,
    readonly directory = process.env.CREDENTIALS_DIRECTORY,
  ) {}

  async pin(): Promise<Buffer> {
    const file = await this.#open();
    const raw = Buffer.alloc(pinLineMax);
    try {
      refuseExposed(this.credential, await file.stat());
      const { bytesRead } = await file.read(raw, 0, raw.length, 0);
      return pinFromLine(raw.subarray(0, bytesRead));
    } catch (cause) {
      if (cause instanceof AgentError && cause.code === 'SOURCE_FAILED') throw cause;
      const reason = cause instanceof AgentError ? cause.message : `cannot be read (${String(cause)})`;
      throw failed(`credential ${this.credential}: ${reason}; load it again and restart the service`, cause);
    } finally {
      raw.fill(0);
      await file.close();
    }
  }

  async #open(): Promise<FileHandle> {
    const { credential, directory } = this;
    const load = `LoadCredential=${credential}:FILE`;
    if (directory === undefined || directory === '') {
      throw failed(`the service was given no credentials; add ${load} to its unit and restart it`);
    }
    try {
      return await open(
        path.join(directory, credential),
        constants.O_RDONLY | constants.O_NOFOLLOW | constants.O_NONBLOCK,
      );
    } catch (cause) {
      const { code } = cause as NodeJS.ErrnoException;
      if (code !== 'ENOENT') {
        throw failed(
          `credential ${credential} cannot be opened (${code ?? String(cause)}); check its owner and mode`,
          cause,
        );
      }
      const directoryExists = await stat(directory).then(
        () => true,
        () => false,
      );
      throw directoryExists
        ? failed(
            `there is no credential ${credential}; add ${load} to the unit and restart the service`,
            cause,
          )
        : failed(
            `CREDENTIALS_DIRECTORY=${directory} does not exist; start the agent as a service of systemd`,
            cause,
          );
    }
  }
}

function refuseExposed(name: string, info: { uid: number; mode: number; isFile(): boolean }): void {
  if (!info.isFile()) throw failed(`credential ${name} is not a regular file; load it from a file`);
  const euid = process.geteuid?.() ?? 0;
  if (info.uid !== 0 && info.uid !== euid) {
    throw failed(
      `credential ${name} belongs to uid ${info.uid}; it must belong to root or to the agent's user`,
    );
  }
  if ((info.mode & refusedBits) !== 0) {
    const octal = (info.mode & 0o777).toString(8).padStart(4, '0');
    throw failed(
      `credential ${name} has mode ${octal}; chmod 0400 it, and change the PIN if others could read it`,
    );
  }
}

function failed(message: string, cause?: unknown): AgentError {
  return new AgentError('SOURCE_FAILED', message, { cause });
}
