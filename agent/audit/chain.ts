/**
 * Follows a chain line by line, over all files of a log. Pure. Input: the lines from the oldest on, and positions that
 * the chain must pass through. Output: where it got to and warnings, or Tampered at the first line that proves it.
 */
import { parseLine, type Line } from './parse-line.js';
import { beginning, lineHash, type Anchor, type Opening, type Position } from './record.js';

export interface Place {
  readonly file: string;
  /** From 1. */
  readonly line: number;
}

export interface Warning extends Place {
  readonly text: string;
}

export class Tampered extends Error {
  constructor({ file, line }: { file: string; line?: number }, text: string) {
    super(line === undefined ? `${file}: ${text}` : `${file}:${line}: ${text}`);
    this.name = 'Tampered';
  }
}

/** Lines whose hash is remembered, for heads that are older than the end: some seconds at full speed. */
const rememberedMax = 65_536;

export class Chain {
  readonly warnings: Warning[] = [];
  /** Number of the first record that is here; earlier ones were rotated away. */
  first: number | undefined;
  /** The last record. */
  last: Position = beginning;
  /** The last line, a record or not. */
  place: Place = { file: '', line: 0 };
  /** Length in bytes of the last line if it is no record. */
  unfinished: number | undefined;
  private hash = beginning.hash;
  private readonly hashes = new Map([[beginning.seq, beginning.hash]]);

  /** @param expected hash by number of the record */
  constructor(private readonly expected: ReadonlyMap<number, string>) {}

  add(place: Place, bytes: Buffer): void {
    const line = parseLine(bytes);
    const hash = lineHash(bytes);
    this.checkUnfinished(line);
    if (line === undefined) this.unfinished = bytes.length;
    else {
      if (line.opening !== undefined) this.checkOpening(place, line.seq, line.opening);
      if (this.first === undefined) this.checkFirst(place, line);
      else this.checkLink(place, line);
      this.remember(place, { seq: line.seq, hash });
      this.unfinished = undefined;
    }
    this.place = place;
    this.hash = hash;
  }

  /** Undefined for a record that is not here or long past. */
  hashOf(seq: number): string | undefined {
    return this.hashes.get(seq);
  }

  warn(text: string, { file, line }: Place = this.place): void {
    this.warnings.push({ file, line, text });
  }

  /** A line that is no record has to be the one that the next line says was left unfinished. */
  private checkUnfinished(next: Line | undefined): void {
    if (this.unfinished === undefined) return;
    const opening = next?.opening;
    if (opening?.unfinished !== this.unfinished || opening.anchor.state === 'closed') {
      throw new Tampered(this.place, 'this is not a record');
    }
    this.warn('an unfinished line: the agent was killed, or the disk was full');
  }

  private checkOpening(place: Place, seq: number, { anchor, reason, rebooted, unrecorded }: Opening): void {
    if (anchor.state === 'forged' || (anchor.state === 'missing' && seq !== 1)) {
      throw new Tampered(
        place,
        `the head was ${anchor.state} when this agent began: nothing before is vouched for`,
      );
    }
    if (this.first !== undefined) this.checkAnchor(place, anchor, rebooted);
    if (anchor.state === 'open' && reason === 'start' && anchor.seq > 0) {
      this.warn('an agent began after one that did not end in order', place);
    }
    if (unrecorded !== undefined)
      this.warn(`${unrecorded} records before this line could not be written`, place);
  }

  private checkAnchor(place: Place, anchor: Anchor, rebooted: boolean): void {
    const { seq } = this.last;
    if (anchor.seq > seq) {
      const missing = range(seq + 1, anchor.seq);
      if (!rebooted || seq < anchor.synced) throw new Tampered(place, `${missing} missing before this line`);
      this.warn(`${missing} missing: not yet on disk when the machine went down`, place);
    } else if (this.hashOf(anchor.seq) !== anchor.hash) {
      throw new Tampered(
        place,
        `record ${anchor.seq} is not the one that the head named when this line was written`,
      );
    } else if (anchor.seq < seq) {
      const added = range(anchor.seq + 1, seq);
      if (anchor.state === 'closed')
        throw new Tampered(place, `${added} here, but the agent had ended before`);
      this.warn(`${added} not vouched for by a head`, place);
    }
  }

  private checkFirst(place: Place, { seq, prev, opening }: Line): void {
    if (opening === undefined)
      throw new Tampered(place, 'lines before this one are missing: a file has an opening line');
    if ((seq === 1 || this.unfinished !== undefined) && prev !== this.hash) {
      throw new Tampered(place, 'it names a line before it that is not here');
    }
    this.first = seq;
    if (this.unfinished === undefined) this.hashes.set(seq - 1, prev);
  }

  private checkLink(place: Place, { seq, prev, opening }: Line): void {
    const next = Math.max(this.last.seq, opening?.anchor.seq ?? 0) + 1;
    if (seq > next) throw new Tampered(place, `${range(next, seq - 1)} missing before this line`);
    if (seq < next) throw new Tampered(place, `record ${seq} stands where record ${next} belongs`);
    // In an empty file the opening line names what the head named.
    if (prev === this.hash || prev === opening?.anchor.hash) return;
    throw new Tampered(this.place, 'the next line names another hash for this one: it was changed');
  }

  private remember(place: Place, position: Position): void {
    const { seq, hash } = position;
    if ((this.expected.get(seq) ?? hash) !== hash) {
      throw new Tampered(place, `record ${seq} is not the one that the head names: it was changed`);
    }
    this.hashes.set(seq, hash);
    this.hashes.delete(seq - rememberedMax);
    this.last = position;
  }
}

/** "record 7 is" or "records 7 to 9 are". */
export function range(from: number, to: number): string {
  return from === to ? `record ${from} is` : `records ${from} to ${to} are`;
}
