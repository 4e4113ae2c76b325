/**
 * PIN source "credential": a file that systemd put into $CREDENTIALS_DIRECTORY for this service
 * (LoadCredential=, SetCredentialEncrypted=; systemd.exec(5)). Output: its content without one trailing newline.
 */
import { stat, type FileHandle } from 'node:fs/promises';
import path from 'node:path';
import { AgentError } from '@keyagent/protocol';
import { secretBytes, wipe } from '../secret-bytes.js';
import { pinFromLine, pinLineMax } from './pin-line.js';
import type { PinSource } from './pin-source.js';
import { openSecretFile } from './secret-file.js';

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
    const raw = secretBytes(pinLineMax);
    try {
      const { bytesRead } = await file.read(raw, 0, raw.length, 0);
      return pinFromLine(raw.subarray(0, bytesRead));
    } catch (cause) {
      const reason = cause instanceof AgentError ? cause.message : `cannot be read (${String(cause)})`;
      throw failed(`credential ${this.credential}: ${reason}; load it again and restart the service`, cause);
    } finally {
      wipe(raw);
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
      return await openSecretFile(path.join(directory, credential), `credential ${credential}`);
    } catch (cause) {
      if (cause instanceof AgentError) throw cause;
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

function failed(message: string, cause?: unknown): AgentError {
  return new AgentError('SOURCE_FAILED', message, { cause });
}
