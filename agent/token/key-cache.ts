/**
 * The public data of a token's keys as the last unlock verified it, kept in the state directory so that servers
 * start while the token is locked. Nothing secret; bound to the token's serial.
 */
import { join } from 'node:path';
import { z } from 'zod';
import { keyAlgorithms, mechanisms } from '@keyagent/protocol';
import type { HostKey } from '../host/host-protocol.js';
import { readStateFile, writeStateFile } from '../state/state-file.js';

const base64 = z.base64().transform((text) => new Uint8Array(Buffer.from(text, 'base64')));
const cachedKey = z.strictObject({
  label: z.string(),
  id: base64,
  algorithm: z.enum(keyAlgorithms),
  bits: z.int().positive(),
  spki: base64,
  certificates: z.array(z.strictObject({ label: z.string(), id: base64, der: base64 })),
  mechanisms: z.array(z.enum(mechanisms)),
  completed: z.array(z.enum(mechanisms)),
  alwaysAuthenticate: z.boolean(),
});
const cacheFile = z.strictObject({ version: z.literal(1), serial: z.string(), keys: z.array(cachedKey) });

export interface CachedKeys {
  readonly serial: string;
  readonly keys: HostKey[];
}

export class KeyCache {
  constructor(
    private readonly stateDir: string,
    private readonly token: string,
  ) {}

  /** undefined: never unlocked here. Throws when the file is there but cannot be read or is not ours. */
  load(): CachedKeys | undefined {
    const content = readStateFile(this.path);
    if (content === undefined) return undefined;
    const { serial, keys } = cacheFile.parse(JSON.parse(content.toString()));
    // Verified once is not verified now: until the next unlock they count as unverified.
    return { serial, keys: keys.map((key) => ({ ...key, ref: 0, state: 'unverified' })) };
  }

  save(serial: string, keys: readonly HostKey[]): void {
    const text = (bytes: Uint8Array): string => Buffer.from(bytes).toString('base64');
    const plain = keys
      .filter(({ state }) => state === 'verified')
      .map((key) => ({
        label: key.label,
        id: text(key.id),
        algorithm: key.algorithm,
        bits: key.bits,
        spki: text(key.spki),
        certificates: key.certificates.map(({ label, id, der }) => ({ label, id: text(id), der: text(der) })),
        mechanisms: key.mechanisms,
        completed: key.completed,
        alwaysAuthenticate: key.alwaysAuthenticate,
      }));
    writeStateFile(this.path, `${JSON.stringify({ version: 1, serial, keys: plain })}\n`);
  }

  private get path(): string {
    return join(this.stateDir, `${this.token}.keys.json`);
  }
}
