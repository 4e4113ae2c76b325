/** Verifies a log: its files, the chain through them, and the head. Output: what is there and warnings, or Tampered. */
import type { KeyObject } from 'node:crypto';
import { setTimeout as delay } from 'node:timers/promises';
import { Chain, Tampered, range, type Warning } from './chain.js';
import { readHead, type Head } from './head.js';
import { linesOf, logFiles } from './log-files.js';
import type { Position } from './record.js';
import { isRunning, isThisBoot } from './writer.js';

export { Tampered };

const headWaitMs = 1000;
const headPollMs = 10;

export interface Verification {
  readonly files: readonly string[];
  /** Numbers of the first and the last record. */
  readonly first: number;
  readonly last: number;
  readonly warnings: readonly Warning[];
}

export interface LogAndHead {
  readonly file: string;
  readonly headFile: string;
  readonly key: KeyObject;
  /** Positions that were kept elsewhere: in the journal, on paper. */
  readonly expected: readonly Position[];
}

/** Works beside an agent that writes: the head is read before the log, and again after it. */
export async function verify({ file, headFile, key, expected }: LogAndHead): Promise<Verification> {
  const head = trustedHead(headFile, key);
  const files = await logFiles(file);
  const positions = [...expected, head];
  const chain = new Chain(new Map(positions.map(({ seq, hash }) => [seq, hash])));
  for (const each of files) {
    let line = 0;
    for await (const bytes of linesOf(each)) chain.add({ file: each, line: ++line }, bytes);
  }
  if (chain.first === undefined) {
    throw new Tampered({ file }, `there is no record; the head names record ${head.seq}`);
  }
  for (const position of positions) requirePosition(chain, position, head);
  checkEnd(chain, await headAfter(chain.last.seq, headFile, key));
  return { files, first: chain.first, last: chain.last.seq, warnings: chain.warnings };
}

/** Under load the head follows the lines of an agent that runs. */
async function headAfter(seq: number, file: string, key: KeyObject): Promise<Head> {
  const deadline = performance.now() + headWaitMs;
  for (;;) {
    const head = trustedHead(file, key);
    if (head.seq >= seq || performance.now() > deadline || head.closed || !isRunning(head.writer))
      return head;
    await delay(headPollMs);
  }
}

function trustedHead(file: string, key: KeyObject): Head {
  let head = readHead(file, key);
  // It may have been written at that very moment.
  if (head === 'forged') head = readHead(file, key);
  if (head === undefined) throw new Tampered({ file }, 'the head is missing');
  if (head === 'forged') throw new Tampered({ file }, 'the head was not made with the key of this log');
  return head;
}

function requirePosition(chain: Chain, { seq, hash }: Position, head: Head): void {
  const { first = 0, last } = chain;
  if (seq > last.seq) {
    const missing = range(last.seq + 1, seq);
    const lostPower = !head.closed && !isThisBoot(head.writer) && seq === head.seq && last.seq >= head.synced;
    if (!lostPower) throw new Tampered(chain.place, `${missing} missing after this line`);
    chain.warn(`${missing} missing: not yet on disk when the machine went down`);
    return;
  }
  const found = chain.hashOf(seq);
  if (found === undefined && seq < first) {
    throw new Tampered(chain.place, `record ${seq} is in none of the files; the first is ${first}`);
  }
  if (found !== undefined && found !== hash) {
    throw new Tampered(chain.place, `record ${seq} has not the hash that was expected: it was changed`);
  }
}

/** @param head as it is after the log was read */
function checkEnd(chain: Chain, { seq, hash, closed, writer }: Head): void {
  const { last, unfinished } = chain;
  if (seq <= last.seq && chain.hashOf(seq) !== hash) {
    throw new Tampered(chain.place, `record ${seq} is not the one that the head names`);
  }
  if (!closed && isRunning(writer)) {
    if (seq < last.seq) chain.warn(`${range(seq + 1, last.seq)} not vouched for yet; verify again`);
    return;
  }
  if (closed && (unfinished !== undefined || seq < last.seq)) {
    throw new Tampered(
      chain.place,
      `the agent ended in order with record ${seq}: what follows is not its own`,
    );
  }
  if (unfinished !== undefined) chain.warn('an unfinished line: the agent was killed, or the disk was full');
  if (seq < last.seq) chain.warn(`${range(seq + 1, last.seq)} not vouched for by the head`);
  if (!closed) chain.warn('the agent did not end in order');
}
