/**
 * What an operator locked stays locked: remembered in the state directory until an operator unlocks. A crash or SIGTERM
 * leaves no trace here; neither a restart nor socket activation undoes a `lock` or `stop`.
 */
import { join } from 'node:path';
import { z } from 'zod';
import { AgentError } from '@keyagent/protocol';
import { readStateFile, removeStateFile, writeStateFile } from '../state/state-file.js';

const revocationFile = z.strictObject({ version: z.literal(1), tokens: z.array(z.string()) });

export class Revocation {
  private readonly tokens: Set<string>;

  constructor(private readonly stateDir: string) {
    this.tokens = new Set(this.load());
  }

  has(token: string): boolean {
    return this.tokens.has(token);
  }

  /** One that is no longer configured stays remembered, but does not count. */
  hasAny(tokens: readonly { readonly name: string }[]): boolean {
    return tokens.some(({ name }) => this.tokens.has(name));
  }

  /** Throws CONFIGURATION when it cannot be remembered; in this process the tokens count as revoked all the same. */
  add(tokens: readonly string[]): void {
    for (const token of tokens) this.tokens.add(token);
    this.save();
  }

  remove(token: string): void {
    if (this.tokens.delete(token)) this.save();
  }

  private load(): readonly string[] {
    const content = readStateFile(this.path);
    if (content === undefined) return [];
    try {
      return revocationFile.parse(JSON.parse(content.toString())).tokens;
    } catch (error) {
      throw new AgentError(
        'CONFIGURATION',
        `${this.path} is damaged; remove it to allow automatic unlocking again`,
        {
          cause: error,
        },
      );
    }
  }

  private save(): void {
    try {
      if (this.tokens.size === 0) removeStateFile(this.path);
      else writeStateFile(this.path, `${JSON.stringify({ version: 1, tokens: [...this.tokens] })}\n`);
    } catch (error) {
      throw new AgentError(
        'CONFIGURATION',
        `${this.path} cannot be written, so a restart would forget this`,
        {
          cause: error,
        },
      );
    }
  }

  private get path(): string {
    return join(this.stateDir, 'revoked.json');
  }
}
