/**
 * The PIN budget: at most one unsuccessful or unconfirmed automatic C_Login per PIN value per token, whatever crashed.
 * A record of the value is synced before the login and removed when it succeeded; while it stands, no other source is
 * asked automatically, and the same source only with a value that was not tried. Records go by the name of a [[token]]; one
 * under another name that is about the same token forbids as well.
 */
import { randomBytes, scryptSync, timingSafeEqual } from 'node:crypto';
import { readdirSync } from 'node:fs';
import { join } from 'node:path';
import { AgentError, sourceNames, type SourceName } from '@keyagent/protocol';
import { z } from 'zod';
import type { TokenInfo } from '../host/host-protocol.js';
import { readStateFile, removeStateFile, writeStateFile } from '../state/state-file.js';

const attempt = z.strictObject({ salt: z.hex(), tag: z.hex() });
const recordFile = z.strictObject({
  version: z.literal(1),
  /** Some modules give every token the same serial. */
  label: z.string(),
  serial: z.string(),
  source: z.enum(sourceNames),
  /** Empty: the PIN was typed on a reader, and nobody here knows it. */
  attempts: z.array(attempt).max(64),
});
/** What a record holds of a PIN's value. */
export type Attempt = z.infer<typeof attempt>;
type BudgetRecord = z.infer<typeof recordFile>;

/** Tells a token from others, whatever it is called in the configuration. */
export type TokenIdentity = Pick<TokenInfo, 'label' | 'serial'>;

/** Short on purpose: it tells apart values that were tried, and is of little use for guessing one. Bytes. */
const tagLength = 4;
const ending = '.pin-budget.json';
const scryptCost = { N: 16384, r: 8, p: 1 };

export class PinBudget {
  constructor(
    private readonly stateDir: string,
    private readonly token: string,
  ) {}

  /**
   * Throws PIN_BLOCKED when this source must not even be asked. By its own record alone: to ask costs no try, and
   * `spend`, which comes before each automatic C_Login, looks at those under other names as well.
   */
  requireSource(source: SourceName): void {
    const record = this.read();
    if (record !== undefined && record.source !== source) {
      throw this.blocked(`the PIN from ${record.source} was refused or never confirmed`);
    }
  }

  /**
   * Writes the record of this attempt; call it right before C_Login. Throws PIN_BLOCKED when the value was tried
   * before, and when the record cannot be written.
   * @param pin  undefined: it is typed on a reader. That is one value that never changes: a person is asked once.
   */
  spend(source: SourceName, identity: TokenIdentity, pin: Uint8Array | undefined): void {
    this.requireSource(source);
    this.requireNoOther(identity);
    const record = this.read();
    if (record !== undefined && !isAbout(record, identity)) {
      throw this.blocked(
        `it was tried on the token ${record.label} with serial ${record.serial}, not on this one`,
      );
    }
    const tried = record?.attempts ?? [];
    if (pin === undefined) {
      if (record !== undefined)
        throw this.blocked('the PIN typed on its reader was refused or never confirmed');
      this.write(source, identity, []);
      return;
    }
    if (tried.some(({ salt, tag }) => timingSafeEqual(tagOf(pin, salt), Buffer.from(tag, 'hex')))) {
      throw this.blocked(`the PIN from ${source} was refused or never confirmed`);
    }
    this.write(source, identity, [...tried, this.attemptOf(pin)]);
  }

  /**
   * The same for a value that a login has confirmed before, and whose slow hash is at hand. Throws PIN_BLOCKED while any
   * record stands, and when this one cannot be written.
   */
  spendAgain(source: SourceName, identity: TokenIdentity, confirmed: Attempt): void {
    this.requireNoOther(identity);
    const record = this.read();
    if (record !== undefined)
      throw this.blocked(`the PIN from ${record.source} was refused or never confirmed`);
    this.write(source, identity, [confirmed]);
  }

  /** Takes tens of milliseconds, on purpose. */
  attemptOf(pin: Uint8Array): Attempt {
    const salt = randomBytes(16).toString('hex');
    return { salt, tag: tagOf(pin, salt).toString('hex') };
  }

  /**
   * After a login that succeeded: of this token nothing stands any more, under whatever name. Throws PIN_BLOCKED, when that
   * is done, if there is a record that cannot be read.
   */
  restore(identity: TokenIdentity): void {
    this.giveBack();
    for (const name of this.othersOf(identity)) removeStateFile(this.pathOf(name));
  }

  /** Of the last attempt, which was not made, or was confirmed. */
  giveBack(): void {
    removeStateFile(this.path);
  }

  private requireNoOther(identity: TokenIdentity): void {
    const [other] = this.othersOf(identity);
    if (other === undefined) return;
    throw this.blocked(
      `${other} names the same token (serial ${identity.serial}), and a PIN was refused there or never confirmed`,
    );
  }

  /** Other names under which a record about this token stands. Throws, after those, if one cannot be read. */
  private *othersOf(identity: TokenIdentity): Generator<string> {
    let unreadable: AgentError | undefined;
    for (const name of this.names()) {
      if (name === this.token) continue;
      try {
        const record = this.read(name);
        if (record !== undefined && isAbout(record, identity)) yield name;
      } catch (error) {
        unreadable ??= error as AgentError;
      }
    }
    if (unreadable !== undefined) throw unreadable;
  }

  private names(): string[] {
    try {
      const files = readdirSync(this.stateDir).filter((file) => file.endsWith(ending));
      return files.map((file) => file.slice(0, -ending.length));
    } catch (error) {
      throw this.blocked(`${this.stateDir} cannot be read`, error);
    }
  }

  private read(name = this.token): BudgetRecord | undefined {
    const path = this.pathOf(name);
    try {
      const content = readStateFile(path);
      return content === undefined ? undefined : recordFile.parse(JSON.parse(content.toString()));
    } catch (error) {
      // What it says of its token is as doubtful as the rest.
      const other = ` and may be about this token, until "keyagent unlock ${name}" succeeds or the file is removed`;
      throw this.blocked(`${path} cannot be read${name === this.token ? '' : other}`, error);
    }
  }

  private write(source: SourceName, { label, serial }: TokenIdentity, attempts: Attempt[]): void {
    const record: BudgetRecord = { version: 1, label, serial, source, attempts };
    try {
      writeStateFile(this.path, `${JSON.stringify(record)}\n`);
    } catch (error) {
      throw this.blocked(`${this.path} cannot be written`, error);
    }
  }

  private blocked(why: string, cause?: unknown): AgentError {
    const message = `no automatic login to ${this.token}: ${why}; run "keyagent unlock ${this.token}"`;
    return new AgentError('PIN_BLOCKED', message, { cause });
  }

  private get path(): string {
    return this.pathOf(this.token);
  }

  private pathOf(name: string): string {
    return join(this.stateDir, `${name}${ending}`);
  }
}

function isAbout(record: BudgetRecord, { label, serial }: TokenIdentity): boolean {
  return record.label === label && record.serial === serial;
}

function tagOf(pin: Uint8Array, salt: string): Buffer {
  return scryptSync(pin, Buffer.from(salt, 'hex'), tagLength, scryptCost);
}
