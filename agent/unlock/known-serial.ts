/**
 * The serial of the token that was unlocked last under a name: a PIN goes without hands only to the token that it is
 * for. An operator's login makes another token the known one.
 */
import { join } from 'node:path';
import { AgentError } from '@keyagent/protocol';
import { z } from 'zod';
import { readStateFile, writeStateFile } from '../state/state-file.js';

const serialFile = z.strictObject({ version: z.literal(1), serial: z.string() });

export class KnownSerial {
  constructor(
    private readonly stateDir: string,
    private readonly token: string,
  ) {}

  /** Throws PIN_BLOCKED for another token than the last one, and when that cannot be told. Before the first: any. */
  require(serial: string): void {
    const known = this.read();
    if (known !== undefined && known !== serial) {
      throw this.blocked(`its serial is ${serial}, and the token unlocked before had ${known}`);
    }
  }

  /** After a login that succeeded. Throws when it cannot be written. */
  remember(serial: string): void {
    writeStateFile(this.path, `${JSON.stringify({ version: 1, serial })}\n`);
  }

  private read(): string | undefined {
    try {
      const content = readStateFile(this.path);
      return content === undefined ? undefined : serialFile.parse(JSON.parse(content.toString())).serial;
    } catch (error) {
      throw this.blocked(`${this.path} cannot be read`, error);
    }
  }

  private blocked(why: string, cause?: unknown): AgentError {
    const message = `no automatic login to ${this.token}: ${why}; run "keyagent unlock ${this.token}"`;
    return new AgentError('PIN_BLOCKED', message, { cause });
  }

  private get path(): string {
    return join(this.stateDir, `${this.token}.serial.json`);
  }
}
