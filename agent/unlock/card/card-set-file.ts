/**
 * TOKEN.cards.json in the state directory: the sealed PIN of a token, one line of JSON (docs/card-set.md). A file that
 * others could write to, and one that is not byte for byte what was written, is refused before any card is asked for.
 */
import { createHash } from 'node:crypto';
import { join } from 'node:path';
import { AgentError } from '@keyagent/protocol';
import { z } from 'zod';
import { readStateFile, writeStateFile } from '../../state/state-file.js';
import { refuseUnsafeFile } from '../../unsafe-file.js';
import type { SealedPin } from './sealed-pin.js';

const format = 'keyagent card set';
const version = 1;
const bytes = z.base64().transform((text) => Buffer.from(text, 'base64'));
const card = z.strictObject({ label: z.string(), serial: z.string(), spki: bytes, share: bytes });
const document = z.strictObject({
  format: z.literal(format),
  version: z.literal(version),
  token: z.string(),
  serial: z.string(),
  quorum: z.int().min(1),
  cards: z.array(card).min(1).max(64),
  nonce: bytes,
  ciphertext: bytes,
  tag: bytes,
  digest: z.string(),
});

export class CardSetFile {
  readonly path: string;

  constructor(
    stateDir: string,
    private readonly token: string,
  ) {
    this.path = join(stateDir, `${token}.cards.json`);
  }

  /** undefined: no cards are enrolled. @throws AgentError CONFIGURATION */
  read(): SealedPin | undefined {
    const content = readStateFile(this.path);
    if (content === undefined) return undefined;
    refuseUnsafeFile(this.path);
    return decodeCardSet(content, this.path);
  }

  /** @throws AgentError NOT_FOUND, CONFIGURATION */
  require(): SealedPin {
    const sealed = this.read();
    if (sealed !== undefined) return sealed;
    const enrol = `keyagent card enrol ${this.token} --cards N --quorum K`;
    throw new AgentError('NOT_FOUND', `no operator cards are enrolled for ${this.token}; run "${enrol}"`);
  }

  /** Replaces the file whole. @throws AgentError CONFIGURATION */
  write(sealed: SealedPin): void {
    try {
      writeStateFile(this.path, encodeCardSet(sealed));
    } catch (cause) {
      throw new AgentError('CONFIGURATION', `${this.path} cannot be written; nothing has changed`, { cause });
    }
  }
}

export function encodeCardSet({ token, serial, quorum, cards, nonce, ciphertext, tag }: SealedPin): Buffer {
  const content = {
    format,
    version,
    token,
    serial,
    quorum,
    cards: cards.map((each) => ({
      label: each.label,
      serial: each.serial,
      spki: each.spki.toString('base64'),
      share: each.share.toString('base64'),
    })),
    nonce: nonce.toString('base64'),
    ciphertext: ciphertext.toString('base64'),
    tag: tag.toString('base64'),
  };
  // For what befalls a file by chance. Against intent it is the PIN's own encryption that counts.
  const digest = createHash('sha256').update(JSON.stringify(content)).digest('hex');
  return Buffer.from(`${JSON.stringify({ ...content, digest })}\n`);
}

/** @param name  of the file, for the error. @throws AgentError CONFIGURATION */
export function decodeCardSet(content: Buffer, name: string): SealedPin {
  const parsed = parse(content, name);
  const { format: _format, version: _version, digest: _digest, ...sealed } = parsed;
  // There is one way to write a set: whatever differs from it was changed, blanks and escapes included.
  if (!encodeCardSet(sealed).equals(content)) throw damaged(name);
  return sealed;
}

function parse(content: Buffer, name: string): z.output<typeof document> {
  let value: unknown;
  try {
    value = JSON.parse(content.toString('utf8'));
  } catch (cause) {
    throw damaged(name, cause);
  }
  const newer = z.object({ format: z.literal(format), version: z.int().min(version + 1) }).safeParse(value);
  if (newer.success) {
    const made = `${name} is of a later version of keyagent (format ${newer.data.version})`;
    throw new AgentError('CONFIGURATION', `${made}; run that version, or enrol the cards again`);
  }
  const checked = document.safeParse(value);
  if (!checked.success) throw damaged(name, checked.error);
  return checked.data;
}

function damaged(name: string, cause?: unknown): AgentError {
  const message = `${name} was changed or is damaged; restore it from a backup, or enrol the cards again`;
  return new AgentError('CONFIGURATION', message, { cause });
}
